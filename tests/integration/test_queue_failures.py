"""A token's failures as the queue records them, and images that others got since (law 3)."""

from dataclasses import asdict, replace

import pytest

from imagegen.queue import Claim, Complete, FailAttempt, History, Queue, Requeue
from tests.support.processes import Site
from tests.support.queue_fixtures import (
    MakeQueue,
    accept,
    accepted_claim,
    claim,
    claim_one,
    token,
    use_fallback,
)

IMAGE = Complete("https://example.com/1.png", None, 1)


@pytest.fixture
def queue(site: Site, make_queue: MakeQueue) -> Queue:
    return make_queue()


def history(queue: Queue, claim: Claim) -> History:
    found = queue.history(claim)
    assert found
    return found


def fail(queue: Queue, claim: Claim, *, charged: int = 0, counted: int = 0) -> History:
    """The prediction fails, and its token waits. What was before."""
    before = history(queue, claim)
    failing = FailAttempt(
        "transient", "oh", token_fails=False, counted=counted, failures=before.failures + 1,
        charged=charged, failing_since=before.failing_since,
    )  # fmt: skip
    assert queue.apply(claim, failing)
    return before


def two_accepted(site: Site, queue: Queue) -> tuple[Claim, Claim]:
    """Of two tokens, the first requested first."""
    site.mint("one", "two")
    one, two = claim(queue)
    return accept(queue, one), accept(queue, two)


def test_failures_in_a_row_are_remembered_with_their_beginning(site: Site, queue: Queue) -> None:
    site.mint("one")
    first = fail(queue, accepted_claim(queue), charged=1)
    second = fail(queue, accepted_claim(queue), charged=2)
    third = history(queue, accepted_claim(queue))

    assert [each.failures for each in (first, second, third)] == [0, 1, 2]
    assert [each.charged for each in (first, second, third)] == [0, 1, 2]
    assert first.failing_since == second.failing_since == third.failing_since
    assert (first.previous_kind, third.previous_kind) == (None, "transient")
    assert third.failing_seconds > 0.0


def test_refusals_and_censored_prompts_neither_count_as_failures_nor_end_their_row(
    site: Site, queue: Queue
) -> None:
    site.mint("one")
    first = fail(queue, accepted_claim(queue), charged=1)
    assert queue.apply(claim_one(queue), Requeue("throttled", "slow down", 0))
    fallback = use_fallback(queue, accepted_claim(queue), "flowers")

    after = history(queue, fallback)
    assert (after.failures, after.charged) == (1, 1)
    assert after.failing_since == first.failing_since


@pytest.mark.parametrize("between", ["an operator's reset", "an image"])
def test_failures_in_a_row_are_forgotten_after(between: str, site: Site, queue: Queue) -> None:
    site.mint("one")
    fail(queue, accepted_claim(queue), charged=1)
    if between == "an image":
        assert queue.apply(accepted_claim(queue), IMAGE)
    site.query("UPDATE tokens_s0 SET status = 'detected', generation_error = NULL")

    assert history(queue, accepted_claim(queue)).failures == 0


def test_a_pause_of_hours_is_no_part_of_an_incident(site: Site, queue: Queue) -> None:
    site.mint("one")
    first = fail(queue, accepted_claim(queue), charged=1)
    site.query("""UPDATE generations SET closed_at = now() - interval '7 hours'""")

    after = history(queue, accepted_claim(queue))
    assert after.failures == 1
    assert after.failing_since != first.failing_since


def test_a_pause_fails_no_token_however_long_it_waited_before(site: Site, queue: Queue) -> None:
    site.mint("one")
    one = claim_one(queue)
    site.query("""UPDATE generations SET opened_at = now() - interval '2 days'""")

    applied = queue.apply(one, Requeue("paused", "an operator has paused imagegen", 0))

    assert applied
    assert (applied.waits_again, applied.failed) == (True, False)
    applied = queue.apply(claim_one(queue), Requeue("unavailable", "no answer", 0))
    assert applied
    assert applied.waits_again


def test_a_failure_does_not_blame_a_token_that_is_alone(site: Site, queue: Queue) -> None:
    site.mint("one")

    assert not history(queue, accepted_claim(queue)).blames_token


def test_an_image_of_a_request_after_the_first_failure_shows_whose_fault_it_is(
    site: Site, queue: Queue
) -> None:
    site.mint("one")
    fail(queue, accepted_claim(queue))
    site.query("UPDATE tokens_s0 SET generate_after = now() + interval '1 hour'")
    site.mint("two", first_token_id=2)
    assert queue.apply(accepted_claim(queue), IMAGE)
    site.query("UPDATE tokens_s0 SET generate_after = NULL")

    assert history(queue, accepted_claim(queue)).image_of_later


def test_an_image_that_waited_long_for_its_copy_shows_nothing(site: Site, queue: Queue) -> None:
    one, two = two_accepted(site, queue)
    site.query(
        """UPDATE generations SET requested_at = now() - interval '11 minutes'
           WHERE token_id = %s""",
        one.token_id,
    )
    assert queue.apply(one, IMAGE)

    assert not history(queue, two).blames_token


def test_an_image_of_an_earlier_request_shows_it_too_unless_several_fail_after_it(
    site: Site, queue: Queue
) -> None:
    one, two = two_accepted(site, queue)
    site.mint("three", "four", "five", first_token_id=3)
    with_it = [accept(queue, each) for each in claim(queue)]
    assert queue.apply(one, IMAGE)
    fail(queue, with_it[0])
    fail(queue, with_it[1])
    few = history(queue, two)
    assert (few.image_of_later, few.image_meanwhile) == (False, True)

    fail(queue, with_it[2])

    assert not history(queue, two).blames_token


def test_an_image_before_an_incident_shows_nothing_if_newer_tokens_fail_too(
    site: Site, queue: Queue
) -> None:
    """So an incident begins where few tokens are minted: the faster ones still got their images."""
    one, two = two_accepted(site, queue)
    assert queue.apply(one, IMAGE)
    fail(queue, two)
    site.mint("three", first_token_id=3)
    again, three = sorted(claim(queue), key=lambda each: each.token_id)
    fail(queue, accept(queue, three))

    assert not history(queue, accept(queue, again)).blames_token


@pytest.mark.parametrize("image", ["before", "of another model", "of the token itself"])
def test_an_image_shows_nothing_that_was_made(image: str, site: Site, queue: Queue) -> None:
    one, two = two_accepted(site, queue)
    assert queue.apply(one, IMAGE)
    if image == "before":
        site.query("UPDATE generations SET closed_at = closed_at - interval '1 hour'")
    elif image == "of another model":
        site.query("UPDATE generations SET model = 'a/b' WHERE id = %s", one.generation_id)
    else:
        site.query("UPDATE generations SET token_id = 2 WHERE id = %s", one.generation_id)

    assert not history(queue, two).blames_token


def test_what_an_incident_made_fail_is_taken_back_from_the_tokens_attempts(
    site: Site, queue: Queue
) -> None:
    site.mint("one")
    site.query("UPDATE tokens_s0 SET generation_attempts = 57")
    fail(queue, accepted_claim(queue), charged=1, counted=1)
    fail(queue, accepted_claim(queue), charged=2, counted=1)
    assert token(site)[:2] == ("detected", 59)

    fail(queue, accepted_claim(queue), counted=-2)

    assert token(site)[:2] == ("detected", 57)


def test_when_an_incident_ends_only_the_tokens_that_wait_for_it_go_on(
    site: Site, queue: Queue
) -> None:
    waits = FailAttempt("transient", "oh", token_fails=False, retry_seconds=600.0, failures=3)
    one, two = two_accepted(site, queue)
    assert queue.apply(one, waits)
    assert queue.apply(two, Requeue("throttled", "slow down", 600.0))

    queue.end_incident()

    assert [each.token_id for each in claim(queue)] == [one.token_id]


def test_failures_are_read_only_for_a_lease_that_still_holds(site: Site, queue: Queue) -> None:
    site.mint("one")
    claimed = accepted_claim(queue)

    assert queue.history(replace(claimed, seed=claimed.seed + 1)) is None
    assert asdict(history(queue, claimed))["failures"] == 0
