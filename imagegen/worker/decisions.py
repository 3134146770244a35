"""Decides what becomes of a generation and its token, from the ending of the work on it.

All delays and all limits of how often something is tried again are decided here, from the tables in
`imagegen.failures`.
"""

from imagegen.config import Settings
from imagegen.failures import (
    FAILURES,
    LEAST_SETTLE_SECONDS,
    MAX_ATTEMPTS,
    MOST_PREDICTIONS,
    QUICK_SECONDS,
    Kind,
    Retry,
    incident_seconds,
    longest_settle_seconds,
    shortened,
)
from imagegen.queue import (
    Claim,
    Complete,
    Decision,
    FailAttempt,
    History,
    Postpone,
    Requeue,
    UseFallback,
)
from imagegen.replicate import Failed, Succeeded, facts
from imagegen.worker.endings import Ending, Kept, Postponed, TurnedAway, Until

# The daily limit admits more when a request of the day before is 24 hours old, or when an operator
# raises it.
DAILY_LIMIT_SECONDS = 10.0
# The time until a prediction that does not end, or that cannot be polled, is polled again.
LOOK_AGAIN_SECONDS = 30.0
# An image that could not be copied, and whose copy is to be handed on, is copied later, after a
# quarter of its age, within bounds. When Replicate is about to delete it, a next stage still has a
# quarter of an hour to fetch it there.
COPY_AGAIN_PART = 0.25
LONGEST_COPY_SECONDS = 300.0
COPY_WITHIN_SECONDS = facts.RETENTION_SECONDS - 900.0
# A list that cannot be read is read again after the age of the request, within these bounds. After
# an outage each request that waits for the list gets it within a minute, also if its last try has
# just begun and gets no answer for 15 s.
SHORTEST_LIST_SECONDS = 1.0
LONGEST_LIST_SECONDS = 30.0
# The list shows most predictions at once or within seconds; one that it does not show by then was
# probably not made. The list proves that some seconds after the settle time, if it holds a
# prediction made in them; if not, it may lag. For a settle time of a minute or more:
LOOK_SOON_SECONDS = 2.0
LOOKS_GROW_BY = 3.0
SETTLED_SECONDS = 5.0
LAGS_SECONDS = 30.0
NOTHING_BEFORE = History()


def decide(
    claim: Claim, ending: Ending, settings: Settings, history: History = NOTHING_BEFORE
) -> Decision:
    """Return what becomes of a generation with this ending. Delays are without jitter. `history` is
    read only for failures of which `depends_on_history` is true."""
    match ending:
        case Succeeded():
            return Complete(ending.image_url, ending.predict_seconds, ending.images)
        case Failed():
            return _after_failure(claim, ending, settings, history)
        case TurnedAway(refused, delay):
            return Requeue(refused.reason, refused.message, delay.seconds, delay.escalates)
        case Postponed():
            return _after_postponement(claim, ending, settings)
        case Kept(decision):
            return decision


def depends_on_history(failed: Failed) -> bool:
    """Return whether the decision needs the token's earlier failures and the images of others."""
    return FAILURES[failed.kind].retry not in {Retry.FALLBACK, Retry.NEVER}


def _after_failure(claim: Claim, failed: Failed, settings: Settings, history: History) -> Decision:
    """Return what a failure costs the token (law 3)."""
    failure = FAILURES[failed.kind]
    ran = claim.prediction_id is not None and failure.ran
    match failure.retry:
        case Retry.FALLBACK if not claim.fallback:
            return UseFallback(failed.kind, failed.message, settings.fallback_prompt)
        case Retry.FALLBACK:
            message = f"the fallback prompt was refused too: {failed.message}"
            return FailAttempt(failed.kind, message, token_fails=True, counted=int(ran))
        case Retry.ATTEMPT:
            return _after_attempt(failed, settings, history, ran=ran)
        case Retry.ONCE_MORE:
            may_pass = history.previous_kind != failed.kind
        case Retry.IF_REPLACED:
            may_pass = settings.replace_lost
        case Retry.NEVER:
            may_pass = False
    charged = history.charged + int(ran)
    return FailAttempt(
        failed.kind,
        failed.message,
        token_fails=not may_pass or charged >= MAX_ATTEMPTS,
        retry_seconds=_quick_seconds(charged),
        counted=int(ran),
        failures=history.failures + 1,
        charged=charged,
        failing_since=history.failing_since,
    )


def _after_attempt(
    failed: Failed, settings: Settings, history: History, *, ran: bool
) -> FailAttempt:
    """Return what follows a failure that may be the token's or the model's fault. The first two are
    tried again soon and count; if the third shows an incident, they do not count any more."""
    failures, counted = history.failures + 1, int(ran)
    charged = history.charged + counted
    is_incident = failures >= MAX_ATTEMPTS and not (ran and history.blames_token)
    if is_incident:
        counted, charged = -history.charged, 0
        retry_seconds = incident_seconds(failures - MAX_ATTEMPTS)
    else:
        retry_seconds = _quick_seconds(charged)
    is_endless = failures >= MOST_PREDICTIONS or (
        history.failing_seconds > settings.give_up_after_seconds
    )
    return FailAttempt(
        failed.kind,
        failed.message,
        token_fails=charged >= MAX_ATTEMPTS or is_endless,
        retry_seconds=max(retry_seconds, failed.wait_seconds),
        counted=counted,
        failures=failures,
        charged=charged,
        failing_since=history.failing_since,
    )


def _quick_seconds(attempts: int) -> float:
    return QUICK_SECONDS[min(max(attempts, 1), len(QUICK_SECONDS)) - 1]


def _after_postponement(claim: Claim, postponed: Postponed, settings: Settings) -> Decision:
    is_too_old = postponed.age_seconds > settings.give_up_after_seconds
    match postponed.until:
        case Until.GATE_OPENS if is_too_old and postponed.reason:
            return Requeue(postponed.reason, "the gate did not open in time", postponed.seconds)
        case Until.GATE_OPENS | Until.FORGOTTEN_IS_LISTED:
            return Postpone(postponed.seconds)
        case Until.PREDICTION_IS_SEEN if is_too_old:
            message = f"the prediction cannot be read, and is perhaps paid for: {postponed.why}"
            return FailAttempt(Kind.UNRESOLVED, message, token_fails=True, counted=1)
        case Until.LIST_IS_READ if is_too_old:
            message = (
                f"Replicate's list cannot be read, and it is perhaps paid for: {postponed.why}"
            )
            return FailAttempt(Kind.UNRESOLVED, message, token_fails=True)
        case Until.LIST_IS_READ:
            return Postpone(list_again_seconds(postponed.age_seconds, settings.settle_seconds))
        case Until.LIST_HOLDS_IT:
            return Postpone(look_again_seconds(postponed.age_seconds, settings.settle_seconds))
        case Until.DAILY_LIMIT_ADMITS:
            return Postpone(DAILY_LIMIT_SECONDS)
        case Until.PREDICTION_IS_SEEN | Until.PREDICTION_ENDS:
            return Postpone(LOOK_AGAIN_SECONDS)
        case Until.OUTPUT_IS_READ:
            return Postpone(shortened(LOOK_AGAIN_SECONDS))


def copy_again_seconds(age_seconds: float, *, is_data: bool) -> float | None:
    """Return in how many seconds to copy an image again; None to hand it on without a copy. An
    image within the output (`is_data`) always needs a copy: its URL is that of the copy."""
    if is_data:
        return LOOK_AGAIN_SECONDS
    if age_seconds > shortened(COPY_WITHIN_SECONDS):
        return None
    shortest, longest = shortened(LOOK_AGAIN_SECONDS), shortened(LONGEST_COPY_SECONDS)
    return min(max(age_seconds * COPY_AGAIN_PART, shortest), longest)


def list_again_seconds(age_seconds: float, settle_seconds: float) -> float:
    """Return in how many seconds to read Replicate's list again: after the age of the request, but
    no later than the end of the settle time, or the time at which the list must hold everything."""
    again_seconds = min(max(age_seconds, SHORTEST_LIST_SECONDS), LONGEST_LIST_SECONDS)
    ends = (settle_seconds, longest_settle_seconds(settle_seconds))
    return min([again_seconds, *(end - age_seconds for end in ends if end > age_seconds)])


def look_again_seconds(age_seconds: float, settle_seconds: float) -> float:
    """Return in how many seconds to look again for a prediction that Replicate's list did not hold:
    soon a few times, and then only when the list may prove more."""
    scale = min(settle_seconds / LEAST_SETTLE_SECONDS, 1.0)
    settled_age = settle_seconds + scale * SETTLED_SECONDS
    if age_seconds < settled_age:
        age = max(age_seconds * LOOKS_GROW_BY, scale * LOOK_SOON_SECONDS)
        return (age if age <= settle_seconds / 2 else settled_age) - age_seconds
    again_seconds = max(age_seconds - settle_seconds, scale * LAGS_SECONDS)
    left_seconds = longest_settle_seconds(settle_seconds) - age_seconds
    return min(again_seconds, left_seconds) if left_seconds > 0 else again_seconds
