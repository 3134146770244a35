"""What the queue promises, asked of a real PostgreSQL."""

from collections.abc import Callable, Iterator

import psycopg
import pytest

from imagegen.database import Pool, connect, open_pool, read_tables
from imagegen.queue import Claim, Queue
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

    def make(worker: str = "worker", lease_seconds: float = 60.0) -> Queue:
        with pool.connection() as connection:
            return Queue(pool, read_tables(connection), worker, lease_seconds)

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


def test_a_worker_that_lost_its_lease_changes_nothing(site: Site, make_queue: MakeQueue) -> None:
    site.mint("contested")
    zombie = make_queue("zombie")
    lost = claim_one(zombie)
    zombie.release()
    heir = make_queue("heir")
    held = claim_one(heir)

    assert zombie.record_request(lost, "contested") is None
    assert zombie.record_prediction(lost, "a" * 26) is None
    assert zombie.close_succeeded(lost, "https://example.com/1.png", None) is None
    assert zombie.close_failed(lost, "transient", "no", max_attempts=3, again_seconds=0) is None
    assert zombie.close_refused(lost, "throttled", "no", 0) is None
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

    closed = queue.close_succeeded(accepted, "https://example.com/1.png", 0.7)

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

    assert queue.close_refused(claim_one(queue), "throttled", "slow down", again_seconds=60)

    assert token(site) == ("detected", 0, "slow down", None)
    assert claim(queue) == []


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
    assert queue.close_succeeded(claimed, "https://example.com/1.png", None)
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

    assert queue.close_succeeded(claimed, "https://example.com/1.png", None)
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
