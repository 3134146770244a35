"""The queue's promises about claims, records and resets, on a real PostgreSQL."""

from dataclasses import asdict, replace
from datetime import UTC, datetime

import psycopg
import pytest

from imagegen.database.connection import connect
from imagegen.database.tables import Tables, read_tables
from imagegen.queue import (
    Claim,
    Complete,
    FailAttempt,
    statements,
)
from tests.support.processes import Site
from tests.support.queue_fixtures import (
    MODEL,
    MakeQueue,
    accepted_claim,
    claim,
    claim_one,
    record_request,
)


def test_the_oldest_tokens_are_claimed_first(site: Site, make_queue: MakeQueue) -> None:
    site.mint("first", "second", "third")
    site.query("UPDATE tokens_s0 SET created_at = now() - token_id * interval '1 hour'")

    claims = claim(make_queue(), limit=2)

    assert [item.author_prompt for item in claims] == ["third", "second"]
    assert site.statuses() == {"detected": 1, "generating": 2}


@pytest.mark.parametrize("odd", ["created_at = NULL", "created_at = 'infinity'"])
def test_a_token_without_a_time_of_its_mint_is_claimed_like_every_other(
    site: Site, make_queue: MakeQueue, odd: str
) -> None:
    site.query("ALTER TABLE tokens_s0 ALTER COLUMN created_at DROP NOT NULL")
    site.mint("odd", "even")
    site.query(f"UPDATE tokens_s0 SET {odd} WHERE token_id = 1")

    even, strange = claim(make_queue())

    assert (even.author_prompt, strange.author_prompt) == ("even", "odd")
    assert strange.waited_seconds == 0.0


def test_token_ids_beyond_two_billion_are_as_good_as_any(site: Site, make_queue: MakeQueue) -> None:
    site.query("ALTER TABLE tokens_s0 ALTER COLUMN token_id TYPE bigint")
    site.mint("wide", first_token_id=9_999_999_999)
    queue = make_queue()

    claimed = claim_one(queue)
    queue.renew([claimed.token_id])

    assert queue.claim(limit=1, new_limit=1, model=MODEL, busy=[claimed.token_id]) == []
    assert claimed.token_id == 9_999_999_999


def test_two_workers_never_claim_the_same_token(site: Site, make_queue: MakeQueue) -> None:
    site.mint(*["a prompt"] * 15)

    mine, yours = claim(make_queue("mine")), claim(make_queue("yours"))

    assert (len(mine), len(yours)) == (10, 5)
    assert not {item.token_id for item in mine} & {item.token_id for item in yours}


def test_every_generation_has_a_seed_of_its_own(site: Site, make_queue: MakeQueue) -> None:
    site.mint(*["a prompt"] * 10)

    seeds = {item.seed for item in claim(make_queue())}

    assert len(seeds) == 10
    assert all(0 <= seed < 2**31 for seed in seeds)


@pytest.mark.direct
def test_a_request_is_on_the_disk_before_it_leaves_whatever_the_database_is_set_to(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("one")
    claimed = claim_one(make_queue())
    sql = statements(read_tables_of(site))["record_request"].text
    values = asdict(claimed) | {"worker": "worker", "prompt": "one", "account": "an-account"}
    values |= {"estimated_cost": None}
    with connect(site.database_url) as connection:
        connection.execute("SET synchronous_commit = off")
        with connection.transaction():
            assert connection.execute(sql, values).fetchone()
            settled = connection.execute("SHOW synchronous_commit").fetchone()

    assert settled == ("on",)


def read_tables_of(site: Site) -> Tables:
    with connect(site.database_url) as connection:
        return read_tables(connection)


def test_a_request_is_recorded_once(site: Site, make_queue: MakeQueue) -> None:
    site.mint("once")
    queue = make_queue()
    claimed = claim_one(queue)

    assert record_request(queue, claimed, "once") is not None
    assert record_request(queue, claimed, "once") is None


def test_a_prediction_is_recorded_again_where_the_answer_to_its_record_was_lost(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("one")
    queue = make_queue()
    requested = record_request(queue, claim_one(queue), "one")
    assert requested

    assert queue.record_prediction(requested, "a" * 26)
    assert queue.record_prediction(requested, "a" * 26)
    assert queue.record_prediction(requested, "b" * 26) is None


def test_a_prediction_belongs_to_one_generation_only(site: Site, make_queue: MakeQueue) -> None:
    site.mint("one", "two")
    queue = make_queue()
    one, two = (record_request(queue, item, "the same") for item in claim(queue))
    assert one and two

    assert queue.record_prediction(one, "a" * 26)
    assert queue.record_prediction(two, "a" * 26) is None


RESET = """UPDATE tokens_s0 SET status = 'detected', generation_attempts = 0,
           generation_error = NULL WHERE token_id = 1"""


def test_an_operators_reset_of_a_token_at_work_buys_no_second_image(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("a prompt")
    queue = make_queue()
    claimed = accepted_claim(queue)

    site.query(RESET)

    assert claim(make_queue("another")) == []
    assert queue.repair_statuses({}).repaired == 1
    assert site.statuses() == {"generating": 1}
    site.query(RESET)
    assert queue.apply(claimed, Complete("https://example.com/1.png", None, 1))
    assert site.statuses() == {"uploading": 1}


def test_an_operators_reset_of_a_failed_token_gives_it_three_attempts_again(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("a prompt")
    queue = make_queue()
    queue.apply(accepted_claim(queue), FailAttempt("permanent", "no", token_fails=True))

    site.query(RESET)

    assert claim_one(queue).attempt == 1


def test_a_token_deleted_at_work_leaves_its_generation_in_the_ledger(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("a prompt")
    queue = make_queue()
    claimed = accepted_claim(queue)

    site.query("DELETE FROM tokens_s0")

    assert queue.apply(claimed, Complete("https://example.com/1.png", None, 1))
    assert site.query("SELECT state FROM generations") == [("succeeded",)]


@pytest.mark.direct
def test_a_mint_is_heard_at_once(site: Site) -> None:
    with connect(site.database_url) as listener:
        listener.execute("LISTEN imagegen_detected")
        site.mint("a prompt")
        heard = list(listener.notifies(timeout=5, stop_after=1))

    assert len(heard) == 1


def test_a_prediction_is_known_if_it_belongs_to_another_generation(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("one", "two")
    queue = make_queue()
    one, two = claim(queue)
    assert queue.record_found(one, "prediction1", prompt="one", account=None, made_at=None)

    ids = ["prediction1", "prediction2"]
    assert queue.known_predictions(two, ids) == {"prediction1"}
    assert queue.known_predictions(one, ids) == set()


def test_a_duplicate_is_no_generation_of_its_token(site: Site, make_queue: MakeQueue) -> None:
    site.mint("a prompt")
    queue = make_queue()
    one = claim_one(queue)
    made_at = datetime(2026, 11, 1, tzinfo=UTC)

    def record(holder: Claim) -> str | None:
        return queue.record_duplicate(
            holder, "prediction2", status="starting", account="us", made_at=made_at
        )

    assert record(replace(one, seed=one.seed + 1)) is None  # the lease is lost
    assert record(one) == record(one) == "prediction2"

    assert site.query("SELECT * FROM imagegen_duplicates") == [
        ("prediction2", one.generation_id, 1, MODEL, "us", "starting", made_at)
    ]
    assert site.query("SELECT count(*) FROM generations") == [(1,)]


def test_a_claim_among_a_million_finished_tokens_uses_the_partial_index(site: Site) -> None:
    site.mint("waiting")
    site.query(
        # Without the check of each foreign key, which takes most of the time.
        """SET session_replication_role = replica;
           INSERT INTO tokens_s0 (token_id, author_id, status, image_url)
           SELECT n, (SELECT id FROM authors), 'uploading', 'https://example.com'
           FROM generate_series(2, 1000000) n"""
    )
    site.query("ANALYZE")
    values = {
        "limit": 10,
        "new_limit": 10,
        "model": MODEL,
        "tokens": [],
        "worker": "w",
        "lease_seconds": 15,
    }
    values |= {"due_within_seconds": 1, "most_forgotten": 30}
    with connect(site.database_url) as connection:
        sql = statements(read_tables(connection))["claim"].text
        rows = psycopg.ClientCursor(connection).execute(f"EXPLAIN ANALYZE {sql}", values).fetchall()

    plan = "\n".join(line for (line,) in rows)
    assert "imagegen_tokens_detected" in plan, plan
    assert "Seq Scan on tokens_s0" not in plan, plan
