"""What the queue promises, asked of a real PostgreSQL."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import psycopg
import pytest

from imagegen.database import Pool, Tables, connect, open_pool, read_tables
from imagegen.queue import Claim, Closed, DailyLimitError, Image, Queue
from imagegen.statements import statements
from tests.running import Site, wait_for

MODEL = "black-forest-labs/flux-schnell"
MakeQueue = Callable[..., Queue]


@pytest.fixture
def pool(site: Site) -> Iterator[Pool]:
    with open_pool(site.database_url, 4, "test") as pool:
        yield pool


@pytest.fixture
def make_queue(pool: Pool) -> MakeQueue:
    """A queue for a worker of this name."""

    def make(
        worker: str = "worker",
        lease_seconds: float = 60.0,
        give_up_after_seconds: float = 86_400.0,
        daily_limit: int | None = None,
    ) -> Queue:
        with pool.connection() as connection:
            return Queue(
                pool,
                read_tables(connection),
                worker,
                lease_seconds=lease_seconds,
                give_up_after_seconds=give_up_after_seconds,
                daily_limit=daily_limit,
            )

    return make


def claim(queue: Queue, limit: int = 10, **more: int) -> list[Claim]:
    return queue.claim(limit=limit, new_limit=more.get("new_limit", limit), model=MODEL)


def claim_one(queue: Queue) -> Claim:
    (only,) = claim(queue)
    return only


def token(site: Site, token_id: int = 1) -> tuple[object, ...]:
    return site.query(
        """SELECT status, generation_attempts, generation_error, image_url FROM tokens_s0
           WHERE token_id = %s""",
        token_id,
    )[0]


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


def test_a_generation_whose_lease_ran_out_is_adopted_before_new_tokens(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("left behind", "new")
    dead = make_queue("dead", lease_seconds=0.05)
    left = claim(dead, limit=1)[0]
    assert dead.record_request(left, "left behind")

    heir = make_queue("heir")
    (adopted,) = wait_for("the lease to run out", lambda: claim(heir, limit=1, new_limit=0))

    assert (adopted.generation_id, adopted.adopted) == (left.generation_id, True)
    assert adopted.prompt == "left behind"
    assert adopted.requested_at is not None
    assert adopted.requested_seconds_ago is not None


def test_a_lease_that_is_renewed_is_not_adopted(site: Site, make_queue: MakeQueue) -> None:
    site.mint("mine")
    claim_one(make_queue("mine", lease_seconds=0.05))

    make_queue("mine", lease_seconds=60).renew([1])
    site.query("SELECT pg_sleep(0.1)")

    assert claim(make_queue("yours")) == []


def test_whoever_holds_a_row_keeps_no_worker_from_renewing_the_others(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("held", "free")
    queue = make_queue("mine", lease_seconds=60)
    claims = claim(queue)
    with psycopg.connect(site.database_url) as operator:
        operator.execute("SELECT FROM generations WHERE token_id = 1 FOR UPDATE")
        operator.execute("SELECT FROM tokens_s0 WHERE token_id = 1 FOR UPDATE")
        before = leases(site)

        queue.renew([item.token_id for item in claims])
        queue.mend()
        renewed = leases(site)
        released = queue.release()

    assert (renewed[1], renewed[2] > before[2]) == (before[1], True)
    assert released == 1


def leases(site: Site) -> dict[int, datetime]:
    return dict(site.query("SELECT token_id, lease_until FROM generations ORDER BY 1"))


def test_a_replacement_takes_over_from_everyone_who_died_in_its_place(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("one", "two", "three")
    for worker in ("host:1-a:worker-1.1", "host:1-a:worker-1.2", "host:1-a:worker-10.1"):
        assert claim(make_queue(worker), limit=1)

    third = make_queue("host:1-a:worker-1.3")
    released = third.release_of("host:1-a:worker-1.2")

    assert released == 2
    assert {item.token_id for item in claim(third)} == {1, 2}


@pytest.mark.direct
def test_a_request_is_on_the_disk_before_it_leaves_whatever_the_database_is_set_to(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("one")
    claimed = claim_one(make_queue())
    sql = statements(read_tables_of(site))["record_request"]
    values = {"generation_id": claimed.generation_id, "worker": "worker", "prompt": "one"}
    with connect(site.database_url) as connection:
        connection.execute("SET synchronous_commit = off")
        with connection.transaction():
            assert connection.execute(sql, values).fetchone()
            settled = connection.execute("SHOW synchronous_commit").fetchone()

    assert settled == ("on",)


def read_tables_of(site: Site) -> Tables:
    with connect(site.database_url) as connection:
        return read_tables(connection)


def test_a_worker_that_lost_its_lease_changes_nothing(site: Site, make_queue: MakeQueue) -> None:
    site.mint("contested")
    zombie = make_queue("zombie")
    lost = claim_one(zombie)
    zombie.release()
    heir = make_queue("heir")
    held = claim_one(heir)

    assert zombie.record_request(lost, "contested") is None
    assert zombie.record_prediction(lost, "a" * 26) is None
    assert zombie.close_succeeded(lost, Image("https://example.com/1.png", None, 1)) is None
    assert zombie.close_failed(lost, "transient", "no", max_attempts=3, again_seconds=0) is None
    assert zombie.close_refused(lost, "throttled", "no", 0, blames=False) is None
    assert zombie.close_censored(lost, "content_policy", "no", "fallback") is None
    assert zombie.postpone(lost, 0) is None
    assert heir.record_request(held, "contested") is not None
    assert token(site) == ("generating", 0, None, None)


def test_a_request_is_recorded_once(site: Site, make_queue: MakeQueue) -> None:
    site.mint("once")
    queue = make_queue()
    claimed = claim_one(queue)

    assert queue.record_request(claimed, "once") is not None
    assert queue.record_request(claimed, "once") is None


def test_a_prediction_is_recorded_again_where_the_answer_to_its_record_was_lost(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("one")
    queue = make_queue()
    requested = queue.record_request(claim_one(queue), "one")
    assert requested

    assert queue.record_prediction(requested, "a" * 26)
    assert queue.record_prediction(requested, "a" * 26)
    assert queue.record_prediction(requested, "b" * 26) is None


def test_a_prediction_belongs_to_one_generation_only(site: Site, make_queue: MakeQueue) -> None:
    site.mint("one", "two")
    queue = make_queue()
    one, two = (queue.record_request(item, "the same") for item in claim(queue))
    assert one and two

    assert queue.record_prediction(one, "a" * 26)
    assert queue.record_prediction(two, "a" * 26) is None


def test_an_image_hands_the_token_on(site: Site, make_queue: MakeQueue) -> None:
    site.mint("a prompt")
    queue = make_queue()
    requested = queue.record_request(claim_one(queue), "a prompt")
    assert requested
    accepted = queue.record_prediction(requested, "a" * 26)
    assert accepted

    closed = queue.close_succeeded(accepted, Image("https://example.com/1.png", 0.7, 1))

    assert closed and not closed.waits_again
    assert token(site) == ("uploading", 1, None, "https://example.com/1.png")
    ledger = "SELECT state, prediction_id, image_url, predict_seconds FROM generations"
    assert site.query(ledger) == [("succeeded", "a" * 26, "https://example.com/1.png", 0.7)]


def accepted_claim(queue: Queue) -> Claim:
    requested = queue.record_request(claim_one(queue), "a prompt")
    assert requested
    accepted = queue.record_prediction(requested, f"prediction{requested.generation_id}")
    assert accepted
    return accepted


def test_the_third_failed_attempt_fails_the_token(site: Site, make_queue: MakeQueue) -> None:
    site.mint("a prompt")
    queue = make_queue()

    def fail() -> bool:
        failed = queue.close_failed(
            accepted_claim(queue), "transient", "oh no", max_attempts=3, again_seconds=0
        )
        assert failed
        return failed.waits_again

    assert [fail(), fail(), fail()] == [True, True, False]
    assert token(site) == ("failed", 3, "oh no", None)


def test_a_refusal_costs_no_attempt_and_keeps_the_token_back(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("a prompt")
    queue = make_queue()

    assert queue.close_refused(
        claim_one(queue), "throttled", "slow down", again_seconds=60, blames=False
    )

    assert token(site) == ("detected", 0, "slow down", None)
    assert claim(queue) == []


def refuse(queue: Queue, site: Site, *, blames: bool = False) -> Closed:
    """Claim the token, whatever time it is to be left alone, and be refused."""
    site.query("UPDATE tokens_s0 SET generate_after = NULL")
    closed = queue.close_refused(claim_one(queue), "unavailable", "no", 1.0, blames=blames)
    assert closed
    return closed


def kept_back_seconds(site: Site) -> float:
    row = site.query("SELECT extract(epoch FROM generate_after - now())::float FROM tokens_s0")
    return float(row[0][0])


def test_a_token_that_alone_is_refused_makes_way_for_ever_longer(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("a prompt")
    queue = make_queue()
    kept_back = []
    for _ in range(4):
        refuse(queue, site, blames=True)
        kept_back.append(kept_back_seconds(site))

    assert kept_back == [pytest.approx(seconds, abs=0.5) for seconds in (2, 4, 8, 16)]


def test_a_token_that_is_refused_with_all_others_waits_no_longer_than_they(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("a prompt")
    queue = make_queue()
    for _ in range(4):
        refuse(queue, site)

    assert kept_back_seconds(site) == pytest.approx(1.0, abs=0.5)


def test_a_token_that_was_refused_for_too_long_fails_with_the_last_reason(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("a prompt")
    queue = make_queue(give_up_after_seconds=3600.0)
    refuse(queue, site)
    site.query("UPDATE generations SET refused_since = refused_since - interval '59 minutes'")
    assert not refuse(queue, site).failed
    site.query("UPDATE generations SET refused_since = refused_since - interval '1 minute'")

    assert refuse(queue, site).failed
    assert token(site) == ("failed", 0, "no", None)


@pytest.mark.parametrize(
    "between", ["an operator's reset", "an attempt that failed", "a weekend without imagegen"]
)
def test_the_time_to_give_up_begins_anew_after(
    between: str, site: Site, make_queue: MakeQueue
) -> None:
    site.mint("a prompt")
    queue = make_queue(give_up_after_seconds=3600.0)
    refuse(queue, site)
    site.query("UPDATE generations SET refused_since = refused_since - interval '2 hours'")
    if between == "a weekend without imagegen":
        site.query("UPDATE generations SET closed_at = closed_at - interval '2 hours'")
    elif between == "an operator's reset":
        site.query("UPDATE tokens_s0 SET generation_error = NULL, generation_attempts = 0")
    else:
        site.query("UPDATE tokens_s0 SET generate_after = NULL")
        claimed = accepted_claim(queue)
        assert queue.close_failed(claimed, "transient", "oh", max_attempts=3, again_seconds=0)

    assert not refuse(queue, site).failed
    assert not refuse(queue, site).failed


def test_a_fallback_that_was_refused_at_the_door_is_what_its_token_goes_on_with(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("a prompt")
    queue = make_queue()
    fallback = queue.close_censored(accepted_claim(queue), "content_policy", "nsfw", "flowers")
    assert fallback
    assert queue.record_request(fallback, "flowers")
    assert queue.close_refused(fallback, "throttled", "no", 0, blames=False)

    again = claim_one(queue)
    refused = queue.close_refused(again, "throttled", "no", 0, blames=False)

    assert (again.fallback, again.prompt, again.attempt) == (True, "flowers", fallback.attempt)
    assert again.seed != fallback.seed
    assert refused
    assert site.query("SELECT max(refusals) FROM generations") == [(2,)]
    site.query("UPDATE tokens_s0 SET generation_error = NULL, generation_attempts = 0")
    assert not claim_one(queue).fallback


def test_a_request_that_was_surely_refused_uses_up_no_daily_limit(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("one")
    queue = make_queue(daily_limit=1)
    requested = queue.record_request(claim_one(queue), "one")
    assert requested

    assert queue.close_failed(requested, "permanent", "no", max_attempts=0, again_seconds=0)

    assert queue.left_today() == 1


def test_the_daily_limit_counts_what_left_and_was_not_refused(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("one", "two", "three")
    queue = make_queue(daily_limit=2)
    first, second, third = claim(queue)
    assert queue.left_today() == 2
    assert queue.record_request(first, "one")
    assert queue.record_request(second, "two")
    assert queue.left_today() == 0
    with pytest.raises(DailyLimitError):
        queue.record_request(third, "three")

    assert queue.close_refused(first, "throttled", "no", 0, blames=False)
    assert queue.left_today() == 1
    assert queue.record_request(third, "three")


def test_after_a_day_the_daily_limit_leaves_room_again(site: Site, make_queue: MakeQueue) -> None:
    site.mint("one")
    queue = make_queue(daily_limit=1)
    assert queue.record_request(claim_one(queue), "one")
    site.query("UPDATE generations SET requested_at = now() - interval '24 hours 1 second'")

    assert queue.left_today() == 1


def test_however_many_ask_at_once_the_daily_limit_holds(site: Site, make_queue: MakeQueue) -> None:
    site.mint(*[f"prompt {number}" for number in range(12)])
    queues = [make_queue(f"worker-{number}", daily_limit=5) for number in range(4)]
    claims = [(queue, each) for queue in queues for each in claim(queue, 3)]

    def ask(queue: Queue, claimed: Claim) -> bool:
        try:
            return queue.record_request(claimed, "a prompt") is not None
        except DailyLimitError:
            return False

    with ThreadPoolExecutor(12) as threads:
        passed = list(threads.map(lambda each: ask(*each), claims))

    assert len(claims) == 12
    assert sum(passed) == 5


def test_a_claim_tells_why_the_attempt_before_failed(site: Site, make_queue: MakeQueue) -> None:
    site.mint("a prompt")
    queue = make_queue()
    first = accepted_claim(queue)
    assert first.previous_kind is None
    assert queue.close_failed(first, "stubborn", "oh", max_attempts=3, again_seconds=0)
    refuse(queue, site)
    site.query("UPDATE tokens_s0 SET generate_after = NULL")

    assert claim_one(queue).previous_kind == "stubborn"


def test_a_censored_prompt_is_followed_by_the_fallback_in_the_same_attempt(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("a prompt")
    queue = make_queue()

    fallback = queue.close_censored(accepted_claim(queue), "content_policy", "NSFW", "flowers")

    assert fallback
    assert (fallback.attempt, fallback.fallback, fallback.prompt) == (1, True, "flowers")
    assert not fallback.requested_at
    rows = site.query("SELECT attempt, fallback, state FROM generations ORDER BY id")
    assert rows == [(1, False, "failed"), (1, True, "open")]
    assert site.statuses() == {"generating": 1}


def test_an_error_is_cut_to_1000_characters(site: Site, make_queue: MakeQueue) -> None:
    site.mint("a prompt")
    queue = make_queue()

    queue.close_failed(claim_one(queue), "permanent", "x" * 2000, max_attempts=0, again_seconds=0)

    assert token(site)[2] == "x" * 1000


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
    assert queue.mend() == 1
    assert site.statuses() == {"generating": 1}
    site.query(RESET)
    assert queue.close_succeeded(claimed, Image("https://example.com/1.png", None, 1))
    assert site.statuses() == {"uploading": 1}


def test_an_operators_reset_of_a_failed_token_gives_it_three_attempts_again(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("a prompt")
    queue = make_queue()
    queue.close_failed(accepted_claim(queue), "permanent", "no", max_attempts=0, again_seconds=0)

    site.query(RESET)

    assert claim_one(queue).attempt == 1


def test_a_token_deleted_at_work_leaves_its_generation_in_the_ledger(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("a prompt")
    queue = make_queue()
    claimed = accepted_claim(queue)

    site.query("DELETE FROM tokens_s0")

    assert queue.close_succeeded(claimed, Image("https://example.com/1.png", None, 1))
    assert site.query("SELECT state FROM generations") == [("succeeded",)]


def test_what_an_older_worker_left_at_work_waits_anew(site: Site, make_queue: MakeQueue) -> None:
    site.mint("orphan", "mine")
    queue = make_queue()
    site.query("UPDATE tokens_s0 SET status = 'generating' WHERE token_id = 1")
    claim_one(queue)

    assert queue.mend() == 1

    assert site.statuses() == {"detected": 1, "generating": 1}


@pytest.mark.direct
def test_a_mint_is_heard_at_once(site: Site) -> None:
    with connect(site.database_url) as listener:
        listener.execute("LISTEN imagegen_detected")
        site.mint("a prompt")
        heard = list(listener.notifies(timeout=5, stop_after=1))

    assert len(heard) == 1


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
    values = {"limit": 10, "new_limit": 10, "model": MODEL, "busy": [], "worker": "w", "lease": 15}
    with connect(site.database_url) as connection:
        sql = statements(read_tables(connection))["claim"]
        rows = psycopg.ClientCursor(connection).execute(f"EXPLAIN ANALYZE {sql}", values).fetchall()

    plan = "\n".join(line for (line,) in rows)
    assert "imagegen_tokens_detected" in plan, plan
    assert "Seq Scan on tokens_s0" not in plan, plan
