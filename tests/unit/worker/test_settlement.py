"""What becomes of a generation: a table from how it ended to what is written."""

from dataclasses import replace
from typing import Any

import pytest

from imagegen.failures import FAILURES, Kind, Reason, Retry
from imagegen.queue import Claim, Complete, FailAttempt, Postpone, Requeue, UseFallback
from imagegen.replicate import Failed, Refused, Succeeded
from imagegen.worker.endings import Delay, Ending, Postponed, TurnedAway, Until
from imagegen.worker.settlement import decide
from tests.support.generation_runs import NEW
from tests.support.settings import settings

A_DAY = 86_400.0
FALLBACK = "soft colours"
SECOND, THIRD = replace(NEW, attempt=2), replace(NEW, attempt=3)
CENSORED = Failed(Kind.CONTENT_POLICY, "NSFW")


def decided(ending: Ending, claim: Claim = NEW, **changed: Any) -> object:
    """What is decided with the default settings, but for these."""
    return decide(claim, ending, settings(fallback_prompt=FALLBACK, **changed))


def test_an_image_completes_its_generation() -> None:
    ending = Succeeded("https://example.com/1.png", 0.7, 1.2, images=2)

    assert decided(ending) == Complete("https://example.com/1.png", 0.7, 2)


@pytest.mark.parametrize(
    ("claim", "kind", "decision"),
    [
        (NEW, Kind.TRANSIENT, FailAttempt("transient", "oh", 3, 1.0)),
        (SECOND, Kind.TRANSIENT, FailAttempt("transient", "oh", 3, 2.0)),
        (THIRD, Kind.TRANSIENT, FailAttempt("transient", "oh", 3, 4.0)),
        (replace(NEW, attempt=1000), Kind.TRANSIENT, FailAttempt("transient", "oh", 3, 4.0)),
        (replace(NEW, attempt=-4), Kind.TRANSIENT, FailAttempt("transient", "oh", 3, 1.0)),
        (NEW, Kind.OVERLOADED, FailAttempt("overloaded", "oh", 3, 20.0)),
        (SECOND, Kind.OVERLOADED, FailAttempt("overloaded", "oh", 3, 600.0)),
        (NEW, Kind.PERMANENT, FailAttempt("permanent", "oh", 0, 1.0)),
        (NEW, Kind.STUBBORN, FailAttempt("stubborn", "oh", 3, 1.0)),
        (
            replace(SECOND, previous_kind="stubborn"),
            Kind.STUBBORN,
            FailAttempt("stubborn", "oh", 0, 2.0),
        ),
        (NEW, Kind.NO_OUTPUT, FailAttempt("no_output", "oh", 3, 1.0)),
        (
            replace(SECOND, previous_kind="no_output"),
            Kind.NO_OUTPUT,
            FailAttempt("no_output", "oh", 0, 2.0),
        ),
    ],
)
def test_an_attempt_that_failed_is_followed_by_another_where_that_may_pass(
    claim: Claim, kind: Kind, decision: FailAttempt
) -> None:
    assert decided(Failed(kind, "oh"), claim) == decision


@pytest.mark.parametrize("kind", [kind for kind in Kind if FAILURES[kind].retry is Retry.NEVER])
def test_what_can_never_pass_fails_its_token_at_once(kind: Kind) -> None:
    assert decided(Failed(kind, "oh")) == FailAttempt(kind, "oh", 0, 1.0)


def test_a_censored_prompt_is_followed_by_the_fallback() -> None:
    assert decided(CENSORED) == UseFallback("content_policy", "NSFW", FALLBACK)


def test_a_censored_fallback_fails_its_token() -> None:
    decision = decided(CENSORED, replace(NEW, fallback=True))

    message = "the fallback prompt was refused too: NSFW"
    assert decision == FailAttempt("content_policy", message, 0, 1.0)


@pytest.mark.parametrize(("replace_lost", "max_attempts"), [(False, 0), (True, 3)])
def test_a_lost_image_is_bought_again_only_where_the_operator_says_so(
    replace_lost: bool, max_attempts: int
) -> None:
    decision = decided(Failed(Kind.GONE, "oh"), replace_lost=replace_lost)

    assert decision == FailAttempt("gone", "oh", max_attempts, 1.0)


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
        (Postponed(Until.DAILY_LIMIT_ADMITS), Postpone(60.0)),
        (Postponed(Until.PREDICTION_ENDS, age_seconds=A_DAY + 1), Postpone(30.0)),
        (Postponed(Until.PREDICTION_IS_SEEN, age_seconds=400.0, why="HTTP 503"), Postpone(30.0)),
        (
            Postponed(Until.PREDICTION_IS_SEEN, age_seconds=A_DAY + 1, why="HTTP 503"),
            FailAttempt(
                "unresolved",
                "the prediction cannot be read, and is perhaps paid for: HTTP 503",
                0,
                0.0,
            ),
        ),
        (
            Postponed(Until.LIST_IS_READ, age_seconds=A_DAY + 1, why="HTTP 503"),
            FailAttempt(
                "unresolved",
                "Replicate's list cannot be read, and it is perhaps paid for: HTTP 503",
                0,
                0.0,
            ),
        ),
    ],
)
def test_what_waits_is_put_aside_or_given_up(ending: Postponed, decision: object) -> None:
    assert decided(ending) == decision


@pytest.mark.parametrize("until", [Until.LIST_IS_READ, Until.LIST_HOLDS_IT])
@pytest.mark.parametrize(
    ("age_seconds", "retry_seconds"),
    [(0.0, 1.0), (4.0, 4.0), (50.0, 10.0), (59.5, 0.5), (61.0, 60.0), (3600.0, 60.0)],
)
def test_the_list_is_asked_again_after_as_long_as_it_has_been(
    until: Until, age_seconds: float, retry_seconds: float
) -> None:
    ending = Postponed(until, age_seconds=age_seconds)

    assert decided(ending, settle_seconds=60.0) == Postpone(retry_seconds)
