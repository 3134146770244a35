"""An older worker beside imagegen keeps its tokens, until it has left them for ten minutes."""

import pytest

from imagegen.queue import Complete, FailAttempt, Queue, Requeue
from imagegen.worker import orphans as of_others
from imagegen.worker.orphans import ORPHAN_SECONDS, Orphans
from tests.support.fake_clock import FakeClock
from tests.support.processes import Site, wait_for
from tests.support.queue_fixtures import MakeQueue, accepted_claim, claim, claim_one
from tests.support.sandbox import Sandbox

TAKE = "UPDATE tokens_s0 SET status = 'generating' WHERE token_id = 1"
GIVE_BACK = "UPDATE tokens_s0 SET status = 'detected' WHERE token_id = 1"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock()
    monkeypatch.setattr(of_others, "time", clock)
    return clock


def repair(queue: Queue, orphans: Orphans) -> int:
    """Repair as a worker does, every 30 s; returns of how many tokens."""
    repairs = queue.repair_statuses(orphans.abandoned())
    orphans.update(repairs.orphans)
    return repairs.repaired


def test_tokens_that_an_older_worker_takes_are_left_alone_and_reported_once(
    site: Site, sandbox: Sandbox
) -> None:
    site.mint("at the start", "while it runs")
    site.query(TAKE)

    with site.supervisor(procs=1) as program:
        [first] = program.wait_for_event("tokens.foreign")
        wait_for("the other image", lambda: site.statuses().get("uploading"))
        doctor = site.run("doctor")
        program.stop()

    assert (first["tokens"], first["token_ids"], first["level"]) == (1, [1], "warning")
    assert site.statuses() == {"generating": 1, "uploading": 1}
    assert len(sandbox.ledger.creates()) == 1
    assert len(program.events("tokens.foreign")) == 1
    assert (
        "1 token is `generating` without a generation of imagegen's: an older worker may be at work"
        in doctor.stdout
    )


def test_an_orphan_waits_again_after_ten_minutes(
    site: Site, make_queue: MakeQueue, clock: FakeClock
) -> None:
    site.mint("orphan", "mine")
    site.query(TAKE)
    queue, orphans = make_queue(), Orphans()
    claim_one(queue)

    for _ in range(20):
        assert repair(queue, orphans) == 0
        clock.passes(ORPHAN_SECONDS / 20)
    assert repair(queue, orphans) == 1

    assert site.statuses() == {"detected": 1, "generating": 1}
    assert repair(queue, orphans) == 0


@pytest.mark.parametrize("writes", [[GIVE_BACK, TAKE], ["UPDATE tokens_s0 SET status = status"]])
def test_a_token_that_its_worker_writes_to_is_counted_from_zero_again(
    site: Site, make_queue: MakeQueue, clock: FakeClock, writes: list[str]
) -> None:
    site.mint("at work elsewhere")
    site.query(TAKE)
    queue, orphans = make_queue(), Orphans()
    repair(queue, orphans)
    clock.passes(ORPHAN_SECONDS - 1)
    for write in writes:
        site.query(write)
    repair(queue, orphans)

    clock.passes(ORPHAN_SECONDS - 1)
    assert repair(queue, orphans) == 0
    clock.passes(1)
    assert repair(queue, orphans) == 1


def test_a_token_that_its_worker_writes_to_at_the_last_moment_is_left_alone(
    site: Site, make_queue: MakeQueue, clock: FakeClock
) -> None:
    site.mint("at work elsewhere")
    site.query(TAKE)
    queue, orphans = make_queue(), Orphans()
    repair(queue, orphans)
    clock.passes(ORPHAN_SECONDS)
    site.query(GIVE_BACK)
    site.query(TAKE)

    assert repair(queue, orphans) == 0
    assert site.statuses() == {"generating": 1}


@pytest.mark.parametrize(
    "ending",
    [
        Requeue("throttled", "wait", 0),
        FailAttempt("transient", "again", token_fails=False),
        FailAttempt("permanent", "no", token_fails=True),
        Complete("https://example.com/1.png", None, 1),
    ],
)
def test_an_older_worker_keeps_a_token_that_imagegen_had_before(
    site: Site, make_queue: MakeQueue, ending: Requeue | FailAttempt | Complete, clock: FakeClock
) -> None:
    site.mint("a prompt")
    queue, orphans = make_queue(), Orphans()
    queue.apply(accepted_claim(queue), ending)
    site.query(GIVE_BACK)  # as an operator may
    site.query(TAKE)

    assert repair(queue, orphans) == 0
    clock.passes(ORPHAN_SECONDS - 1)
    assert repair(queue, orphans) == 0
    assert site.statuses() == {"generating": 1}


def test_a_token_minted_anew_at_work_is_claimed_when_the_first_authors_image_is_there(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("the first author")
    queue, orphans = make_queue(), Orphans()
    first = accepted_claim(queue)
    site.query("DELETE FROM tokens_s0")
    site.query("UPDATE authors SET wallet_address = '0xfirst'")
    site.mint("the second author")

    assert (repair(queue, orphans), claim(queue)) == (0, [])
    queue.apply(first, Complete("https://example.com/1.png", None, 1))

    assert repair(queue, orphans) == 0
    assert claim_one(queue).author_prompt == "the second author"


def test_other_tokens_are_reported_when_they_come(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    orphans = Orphans()

    for found in ({1: "a"}, {1: "a"}, {1: "a", 2: "a"}, {2: "a"}, {2: "b"}, {}, {}):
        clock.passes(30)
        orphans.update(found)

    lines = [vars(record) for record in caplog.records if record.message == "tokens.foreign"]
    assert [line["token_ids"] for line in lines] == [[1], [1, 2], [2]]
