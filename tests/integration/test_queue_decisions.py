"""The queue's promises about the ends of generations: images, failures and refusals."""

import pytest

from imagegen.queue import (
    Applied,
    Complete,
    FailAttempt,
    Queue,
    Requeue,
)
from tests.support.processes import Site
from tests.support.queue_fixtures import (
    MakeQueue,
    accepted_claim,
    claim,
    claim_one,
    record_request,
    token,
    use_fallback,
)


def test_an_image_hands_the_token_on(site: Site, make_queue: MakeQueue) -> None:
    site.mint("a prompt")
    queue = make_queue()
    requested = record_request(queue, claim_one(queue), "a prompt")
    assert requested
    accepted = queue.record_prediction(requested, "a" * 26)
    assert accepted

    closed = queue.apply(accepted, Complete("https://example.com/1.png", 0.7, 1))

    assert closed and not closed.waits_again
    assert token(site) == ("uploading", 1, None, "https://example.com/1.png")
    ledger = "SELECT state, prediction_id, image_url, predict_seconds FROM generations"
    assert site.query(ledger) == [("succeeded", "a" * 26, "https://example.com/1.png", 0.7)]


def test_a_refusal_costs_no_attempt_and_keeps_the_token_back(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("a prompt")
    queue = make_queue()

    assert queue.apply(claim_one(queue), Requeue("throttled", "slow down", 60))

    assert token(site) == ("detected", 0, "slow down", None)
    assert claim(queue) == []


def refuse(queue: Queue, site: Site, *, escalates: bool = False) -> Applied:
    """Claim the token, whatever time it is to be left alone, and be refused."""
    site.query("UPDATE tokens_s0 SET generate_after = NULL")
    closed = queue.apply(claim_one(queue), Requeue("unavailable", "no", 1.0, escalates=escalates))
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
        refuse(queue, site, escalates=True)
        kept_back.append(kept_back_seconds(site))

    assert kept_back == [pytest.approx(seconds, abs=0.5) for seconds in (2, 4, 8, 16)]


def test_refusals_that_blame_no_token_do_not_lengthen_its_own_delay(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("a prompt")
    queue = make_queue()
    for _ in range(9):
        refuse(queue, site)
    refuse(queue, site, escalates=True)

    assert kept_back_seconds(site) == pytest.approx(2.0, abs=0.5)


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
        assert queue.apply(claimed, FailAttempt("transient", "oh", token_fails=False))

    assert not refuse(queue, site).failed
    assert not refuse(queue, site).failed


def test_a_fallback_that_was_refused_at_the_door_is_what_its_token_goes_on_with(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("a prompt")
    queue = make_queue()
    fallback = use_fallback(queue, accepted_claim(queue), "flowers")
    assert fallback
    assert record_request(queue, fallback, "flowers")
    assert queue.apply(fallback, Requeue("throttled", "no", 0))

    again = claim_one(queue)
    refused = queue.apply(again, Requeue("throttled", "no", 0))

    assert (again.fallback, again.prompt, again.attempt) == (True, "flowers", fallback.attempt)
    assert again.seed != fallback.seed
    assert refused
    site.query("UPDATE tokens_s0 SET generation_error = NULL, generation_attempts = 0")
    assert not claim_one(queue).fallback


def test_a_censored_prompt_is_followed_by_the_fallback_in_the_same_attempt(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("a prompt")
    queue = make_queue()

    fallback = use_fallback(queue, accepted_claim(queue), "flowers")

    assert fallback
    assert (fallback.attempt, fallback.fallback, fallback.prompt) == (1, True, "flowers")
    assert not fallback.requested_at
    rows = site.query("SELECT attempt, fallback, state FROM generations ORDER BY id")
    assert rows == [(1, False, "failed"), (1, True, "open")]
    assert site.statuses() == {"generating": 1}


def test_an_error_is_cut_to_1000_characters(site: Site, make_queue: MakeQueue) -> None:
    site.mint("a prompt")
    queue = make_queue()

    queue.apply(claim_one(queue), FailAttempt("permanent", "x" * 2000, token_fails=True))

    assert token(site)[2] == "x" * 1000
