"""What becomes of a generation: from how it ended, and what was before, to what is written."""

from dataclasses import replace
from typing import Any

import pytest

from imagegen.failures import FAILURES, Kind, Reason, Retry
from imagegen.queue import (
    Claim,
    Complete,
    FailAttempt,
    History,
    Postpone,
    Requeue,
    UseFallback,
)
from imagegen.replicate import Failed, Refused, Succeeded
from imagegen.worker.decisions import NOTHING_BEFORE, decide
from imagegen.worker.endings import Delay, Ending, Postponed, TurnedAway, Until
from tests.support.generation_claims import NEW
from tests.support.settings import settings

A_DAY = 86_400.0
A_TIME = "2026-01-01T12:00:00.000000Z"
FALLBACK = "soft colours"
ACCEPTED = replace(NEW, prediction_id="p1")
CENSORED = Failed(Kind.CONTENT_POLICY, "NSFW")


def decided(
    ending: Ending, claim: Claim = ACCEPTED, history: History = NOTHING_BEFORE, **changed: Any
) -> object:
    """What is decided with the default settings, but for these."""
    return decide(claim, ending, settings(fallback_prompt=FALLBACK, **changed), history)


def failed(history: History, kind: Kind = Kind.TRANSIENT, **changed: Any) -> FailAttempt:
    """What is decided about a prediction that has failed after these."""
    decision = decided(Failed(kind, "oh"), history=history, **changed)
    assert isinstance(decision, FailAttempt)
    return decision


def after(failures: int, *, charged: int | None = None, **more: Any) -> History:
    """So many failures in a row before this one."""
    charged = failures if charged is None else charged
    return History(failures, charged, failing_since=A_TIME, **more)


def test_an_image_completes_its_generation() -> None:
    ending = Succeeded("https://example.com/1.png", 0.7, 1.2, images=2)

    assert decided(ending) == Complete("https://example.com/1.png", 0.7, 2)


@pytest.mark.parametrize("kind", [Kind.TRANSIENT, Kind.STUBBORN, Kind.OVERLOADED, Kind.CANCELED])
@pytest.mark.parametrize("others_get_images", [True, False])
@pytest.mark.parametrize(("before", "retry_seconds"), [(0, 1.0), (1, 2.0)])
def test_the_first_two_attempts_that_fail_are_followed_by_another_soon(
    before: int, retry_seconds: float, kind: Kind, others_get_images: bool
) -> None:
    decision = failed(after(before, image_of_later=others_get_images), kind)

    assert decision == FailAttempt(
        kind, "oh", False, retry_seconds, 1, before + 1, before + 1, A_TIME
    )


@pytest.mark.parametrize("evidence", ["image_of_later", "image_meanwhile"])
def test_the_third_fails_its_token_where_others_get_images_meanwhile(evidence: str) -> None:
    decision = failed(after(2, **{evidence: True}))

    assert decision.token_fails
    assert decision.counted == 1


def test_without_an_image_for_anybody_the_third_shows_an_incident_and_none_is_counted() -> None:
    decision = failed(after(2))

    assert decision == FailAttempt("transient", "oh", False, 20.0, -2, 3, 0, A_TIME)


def test_in_an_incident_each_wait_is_longer_up_to_ten_minutes() -> None:
    waits = [failed(after(before, charged=0)) for before in range(3, 10)]

    assert [each.retry_seconds for each in waits] == [60.0, 120.0, 300.0] + [600.0] * 4
    assert {(each.token_fails, each.counted, each.charged) for each in waits} == {(False, 0, 0)}


def test_after_an_incident_a_token_has_three_attempts_of_its_own() -> None:
    before = after(7, charged=0, image_of_later=True)
    first = failed(before)
    second = failed(replace(before, failures=8, charged=first.charged))
    third = failed(replace(before, failures=9, charged=second.charged))

    assert [each.retry_seconds for each in (first, second)] == [1.0, 2.0]
    assert [each.token_fails for each in (first, second, third)] == [False, False, True]
    assert [each.counted for each in (first, second, third)] == [1, 1, 1]


def test_an_incident_is_given_up_after_twenty_predictions_or_a_day() -> None:
    assert not failed(after(18, charged=0)).token_fails
    assert failed(after(19, charged=0)).token_fails
    assert failed(after(5, charged=0, failing_seconds=A_DAY + 1)).token_fails


def test_a_token_waits_as_long_as_the_gate_says_before_it_is_the_probe_again() -> None:
    decision = decided(Failed(Kind.OVERLOADED, "oh", wait_seconds=40.0))

    assert isinstance(decision, FailAttempt)
    assert decision.retry_seconds == 40.0


@pytest.mark.parametrize("before", [0, 1, 2, 5])
def test_a_prediction_that_never_ran_costs_nothing_whatever_others_get(before: int) -> None:
    decision = failed(after(before, charged=0, image_of_later=True), Kind.ABORTED)

    assert (decision.token_fails, decision.counted, decision.charged) == (False, 0, 0)


def test_an_output_without_an_image_is_paid_for_once_more_but_not_a_third_time() -> None:
    assert not failed(after(0), Kind.NO_OUTPUT).token_fails
    assert not failed(after(1, previous_kind="transient"), Kind.NO_OUTPUT).token_fails
    assert failed(after(1, previous_kind="no_output"), Kind.NO_OUTPUT).token_fails


@pytest.mark.parametrize("kind", [kind for kind in Kind if FAILURES[kind].retry is Retry.NEVER])
def test_what_can_never_pass_fails_its_token_at_once(kind: Kind) -> None:
    decision = decided(Failed(kind, "oh"))

    assert isinstance(decision, FailAttempt)
    assert decision.token_fails


def test_what_never_became_a_prediction_is_no_attempt() -> None:
    decision = decided(Failed(Kind.INVALID_PROMPT, "oh"), NEW)

    assert isinstance(decision, FailAttempt)
    assert (decision.token_fails, decision.counted) == (True, 0)


def test_a_censored_prompt_is_followed_by_the_fallback() -> None:
    assert decided(CENSORED) == UseFallback("content_policy", "NSFW", FALLBACK)


def test_a_censored_fallback_fails_its_token() -> None:
    decision = decided(CENSORED, replace(ACCEPTED, fallback=True))

    message = "the fallback prompt was refused too: NSFW"
    assert decision == FailAttempt("content_policy", message, token_fails=True, counted=1)


def test_a_lost_image_is_bought_again_only_where_the_operator_says_so() -> None:
    assert failed(after(0), Kind.GONE).token_fails
    assert not failed(after(0), Kind.GONE, replace_lost=True).token_fails
    assert failed(after(2), Kind.GONE, replace_lost=True).token_fails


def test_a_refused_token_waits_as_long_as_the_gate_says() -> None:
    ending = TurnedAway(Refused(Reason.THROTTLED, "slow down"), Delay(7.0, escalates=True))

    assert decided(ending) == Requeue("throttled", "slow down", 7.0, escalates=True)


@pytest.mark.parametrize(
    ("ending", "decision"),
    [
        (Postponed(Until.GATE_OPENS, 3.0), Postpone(3.0)),
        (Postponed(Until.GATE_OPENS, 3.0, A_DAY + 1), Postpone(3.0)),
        (
            Postponed(Until.GATE_OPENS, 3.0, A_DAY + 1, reason=Reason.NO_CREDIT),
            Requeue("no_credit", "the gate did not open in time", 3.0),
        ),
        (Postponed(Until.DAILY_LIMIT_ADMITS), Postpone(10.0)),
        (Postponed(Until.OUTPUT_IS_READ, why="no image"), Postpone(30.0)),
        (Postponed(Until.PREDICTION_ENDS, age_seconds=A_DAY + 1), Postpone(30.0)),
        (Postponed(Until.PREDICTION_IS_SEEN, age_seconds=400.0, why="HTTP 503"), Postpone(30.0)),
        (
            Postponed(Until.PREDICTION_IS_SEEN, age_seconds=A_DAY + 1, why="HTTP 503"),
            FailAttempt(
                "unresolved",
                "the prediction cannot be read, and is perhaps paid for: HTTP 503",
                token_fails=True,
                counted=1,
            ),
        ),
        (
            Postponed(Until.LIST_IS_READ, age_seconds=A_DAY + 1, why="HTTP 503"),
            FailAttempt(
                "unresolved",
                "Replicate's list cannot be read, and it is perhaps paid for: HTTP 503",
                token_fails=True,
            ),
        ),
    ],
)
def test_what_waits_is_put_aside_or_given_up(ending: Postponed, decision: object) -> None:
    assert decided(ending) == decision


@pytest.mark.parametrize(
    ("age_seconds", "retry_seconds"),
    [
        (0.0, 1.0),
        (4.0, 4.0),
        (50.0, 10.0),
        (59.5, 0.5),
        (61.0, 30.0),
        (290.0, 10.0),
        (3600.0, 30.0),
    ],
)
def test_a_list_that_cannot_be_read_is_asked_for_again_after_as_long_as_it_has_been(
    age_seconds: float, retry_seconds: float
) -> None:
    ending = Postponed(Until.LIST_IS_READ, age_seconds=age_seconds)

    assert decided(ending, settle_seconds=60.0) == Postpone(retry_seconds)


@pytest.mark.parametrize(
    ("settle_seconds", "from_seconds", "looks"),
    [
        (60.0, 0.0, [2, 6, 18, 65, 95, 130, 200, 300, 540]),
        (60.0, 15.0, [65, 95]),  # an answer that was waited for
        (60.0, 61.0, [65, 95]),
        (600.0, 0.0, [2, 6, 18, 54, 162, 605, 635, 670, 740, 840]),
        (6.0, 0.0, [0.2, 0.6, 1.8, 6.5, 9.5, 13, 20, 30]),
    ],
)
def test_a_lost_answer_is_looked_for_soon_and_then_when_the_list_may_tell_more(
    settle_seconds: float, from_seconds: float, looks: list[float]
) -> None:
    age_seconds = from_seconds
    for expected in looks:
        ending = Postponed(Until.LIST_HOLDS_IT, age_seconds=age_seconds)
        decision = decided(ending, settle_seconds=settle_seconds)
        assert isinstance(decision, Postpone)
        age_seconds += decision.retry_seconds
        assert age_seconds == pytest.approx(expected)
