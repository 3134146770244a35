"""The end of a generation is never lost, even if the database refuses to write it to the token."""

from dataclasses import replace

import pytest

from imagegen.database import brief
from imagegen.database.connection import AWAY
from imagegen.queue import (
    Claim,
    ClosingRefusedError,
    Complete,
    FailAttempt,
    Queue,
    Requeue,
    execution,
)
from tests.support.obstacles import OBSTACLES
from tests.support.processes import Site
from tests.support.queue_fixtures import MakeQueue, accepted_claim, claim, claim_one, token

URL = "https://replicate.delivery/" + "x" * 60
IMAGE = Complete(URL, 0.7, 1, "/images/1.webp", "abc")
FAILURE = FailAttempt("permanent", "x" * 280, token_fails=True, counted=1)
NOW = "2026-01-01T12:00:00.000000Z"
LEDGER = """SELECT state, worker, image_url, images, predict_seconds, image_path, image_sha256
            FROM generations"""


@pytest.fixture
def queue(short_statements: None, site: Site, make_queue: MakeQueue) -> Queue:
    site.mint("a prompt")
    return make_queue()


@pytest.fixture
def short_statements(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits long for a statement that takes too long, over either kind of connection."""
    monkeypatch.setitem(brief.OF_A_SESSION, "statement_timeout", "300")
    monkeypatch.setattr(execution, "BRIEFLY", brief.BRIEFLY + "SET LOCAL statement_timeout = 300; ")


def refusal(queue: Queue, claimed: Claim, decision: Complete | FailAttempt | Requeue) -> str:
    """Why it cannot be written."""
    with pytest.raises((ClosingRefusedError, *AWAY)) as refused:
        queue.apply(claimed, decision)
    return str(refused.value)


def claim_later(site: Site, queue: Queue) -> Claim:
    """Claim what was kept, whenever that is due."""
    assert claim(queue) == []
    site.query("UPDATE generations SET lease_until = now() - interval '1 second'")
    return claim_one(queue)


@pytest.mark.parametrize("name", OBSTACLES)
def test_an_image_that_cannot_be_written_to_its_token_is_kept_and_handed_on_later(
    name: str, site: Site, queue: Queue
) -> None:
    obstacle = OBSTACLES[name]
    claimed = accepted_claim(queue)
    site.query(obstacle.put)
    before = token(site)

    why = refusal(queue, claimed, IMAGE)
    kept = queue.keep(claimed, IMAGE, why)

    assert obstacle.message in why
    assert token(site) == before
    assert kept and kept.retry_seconds == pytest.approx(15.0, abs=1.0)
    assert site.query(LEDGER) == [("open", None, URL, 1, 0.7, "/images/1.webp", "abc")]
    again = claim_later(site, queue)
    assert again.closing == IMAGE
    assert obstacle.message in refusal(queue, again, IMAGE)
    site.query(obstacle.take)
    assert queue.apply(again, IMAGE)
    assert token(site) == ("uploading", 1, None, URL)
    assert [state for state, *_ in site.query(LEDGER)] == ["succeeded"]


def test_an_image_with_a_copy_is_handed_on_by_its_lasting_url_and_replicates_is_recorded(
    site: Site, queue: Queue
) -> None:
    lasting = replace(IMAGE, handed_on="https://images.example.com/1-1.webp")
    claimed = accepted_claim(queue)
    assert queue.keep(claimed, lasting, "a trigger")
    again = claim_later(site, queue)
    assert again.closing == lasting

    assert queue.apply(again, lasting)

    assert token(site) == ("uploading", 1, None, lasting.handed_on)
    recorded = site.query("SELECT image_url, handed_on_url FROM generations")
    assert recorded == [(URL, lasting.handed_on)]


ERRORS = {
    "ALTER TABLE tokens_s0 ALTER generation_error TYPE varchar(100)": 100,
    "ALTER TABLE tokens_s0 ALTER generation_error TYPE char(50)": 50,
    """CREATE DOMAIN fifty AS varchar(50); CREATE DOMAIN thirty AS fifty CHECK (length(value) < 30);
       ALTER TABLE tokens_s0 ALTER generation_error TYPE thirty""": 25,
    "ALTER TABLE tokens_s0 ADD CHECK (length(generation_error) <= 100)": 70,
    "ALTER TABLE tokens_s0 ADD CHECK (octet_length(generation_error) < 200)": 140,
    "SELECT 1": 280,
}


@pytest.mark.parametrize(("column", "characters"), ERRORS.items())
@pytest.mark.parametrize("decision", [FAILURE, Requeue("throttled", "x" * 280, 60.0)])
def test_an_error_is_written_as_long_as_its_column_takes_it(
    column: str, characters: int, decision: FailAttempt | Requeue, site: Site, make_queue: MakeQueue
) -> None:
    site.query(column)
    site.mint("a prompt")
    queue = make_queue()

    assert queue.apply(accepted_claim(queue), decision)

    assert token(site)[2] == "x" * characters
    assert site.query("SELECT error_message FROM generations") == [("x" * 280,)]


@pytest.mark.parametrize("decision", [FAILURE, Requeue("throttled", "slow down", 60.0, True)])
def test_a_failure_that_cannot_be_written_is_kept_too(
    decision: FailAttempt | Requeue, site: Site, queue: Queue
) -> None:
    claimed = accepted_claim(queue)
    site.query(
        """ALTER TABLE tokens_s0 ADD CONSTRAINT obstacle
           CHECK (generation_error IS NULL) NOT VALID"""
    )

    assert queue.keep(claimed, decision, refusal(queue, claimed, decision))

    again = claim_later(site, queue)
    assert again.closing == decision
    site.query("ALTER TABLE tokens_s0 DROP CONSTRAINT obstacle")
    assert queue.apply(again, decision)
    rows = site.query("SELECT state, error_message, closing_error FROM generations")
    [(state, message, why)] = rows
    assert (state, message) == ("failed" if decision is FAILURE else "refused", decision.message)
    assert "obstacle" in why


def kept_claim(queue: Queue) -> Claim:
    """A generation that was kept, as it is known to the worker that kept it."""
    claimed = accepted_claim(queue)
    assert queue.keep(claimed, IMAGE, "no")
    return claimed


def test_a_refused_closing_is_tried_again_after_ever_longer_delays(
    site: Site, queue: Queue
) -> None:
    kept_claim(queue)
    delays = []
    for seconds_ago in (0, 20, 100, 3000):
        site.query(
            """UPDATE generations SET closing_refused_at = now() - make_interval(secs => %s)""",
            seconds_ago,
        )
        kept = queue.keep(claim_later(site, queue), IMAGE, "no")
        assert kept
        delays.append(kept.retry_seconds)

    assert delays == [pytest.approx(seconds, abs=2.0) for seconds in (15, 20, 100, 300)]


def test_any_worker_takes_a_refused_closing_and_the_one_that_kept_it_writes_no_more(
    site: Site, queue: Queue, make_queue: MakeQueue
) -> None:
    kept = kept_claim(queue)

    again = claim_later(site, make_queue("another"))

    assert (again.closing, again.adopted, again.postponed) == (IMAGE, True, True)
    assert queue.apply(kept, IMAGE) is None
    assert queue.keep(kept, IMAGE, "no") is None


def test_refused_closings_are_tried_at_once_when_another_has_gone_through(
    site: Site, queue: Queue
) -> None:
    kept_claim(queue)
    assert claim(queue) == []

    queue.hasten_closings()

    assert claim_one(queue).closing == IMAGE


@pytest.mark.parametrize("closing", ["{}", '{"decision": "Frame"}', '{"decision": "Complete"}'])
def test_a_closing_of_another_version_is_decided_again(
    closing: str, site: Site, queue: Queue
) -> None:
    kept_claim(queue)
    site.query("UPDATE generations SET closing = %s", closing)

    again = claim_later(site, queue)

    assert again.closing is None
    assert again.prediction_id


def test_refused_closings_take_nothing_of_the_daily_limit_but_what_was_accepted(
    site: Site, make_queue: MakeQueue
) -> None:
    queue = make_queue(daily_limit=3)
    site.mint("accepted", None)
    accepted, unsent = claim(queue)
    requested = queue.record_request(accepted, prompt="accepted", model="a/b", account=None)
    assert requested
    made = queue.record_prediction(requested, "a" * 26)
    assert made
    assert queue.keep(made, IMAGE, "no") and queue.keep(unsent, FAILURE, "no")

    allowance = queue.daily_allowance()

    assert (allowance.total, allowance.for_new_tokens) == (2, 2)


def test_a_prediction_that_another_generation_has_taken_is_no_refusal(
    site: Site, queue: Queue
) -> None:
    accepted_claim(queue)
    site.mint("another", first_token_id=2)
    other = claim_one(queue)

    taken = queue.apply(replace(other, prediction_id="prediction1", requested_at=NOW), IMAGE)

    assert taken is None
