"""The kinds of failures and the reasons of refusals, with the meaning of each in a table.

Names of kinds and reasons are values of rows, labels of metrics and fields of logs. A new kind is
one member and one row of `FAILURES`: retries, spend, metrics and the status page read them here.
"""

import os
from dataclasses import dataclass
from enum import Enum, StrEnum, auto

MAX_ATTEMPTS = 3
# 1, 2, 4 s: long enough for a hiccup of one machine at Replicate, short enough for a P95 of 60 s.
QUICK_SECONDS = (1.0, 2.0, 4.0)
# The delays of an incident, in which predictions fail for every token (law 3). Each may be billed,
# so there are few: about nine in an hour. A token fails after MOST_PREDICTIONS all the same.
INCIDENT_SECONDS = (20.0, 60.0, 120.0, 300.0, 600.0)
MOST_PREDICTIONS = 20

# A request without an answer counts as failed only after its settle time: then it cannot arrive any
# more (law 2). It is written within the part SEND_WITHIN of that time. TCP gives it up when it is
# not acknowledged within UNACKNOWLEDGED_SECONDS: a network that loses packets takes a few seconds,
# and each second more adds two to the settle time. A request that has arrived is in Replicate's
# list LISTED_SECONDS later.
SEND_WITHIN = 0.5
UNACKNOWLEDGED_SECONDS = 20.0
LISTED_SECONDS = 10.0
LEAST_SETTLE_SECONDS = (UNACKNOWLEDGED_SECONDS + LISTED_SECONDS) / (1 - SEND_WITHIN)
# The list may lag by minutes. A prediction that it does not hold counts as not made only if the
# list holds one that was made after the settle time, or after this many more settle times (5 min in
# all). That is longer than any lag that must cost nothing, and shorter than the hour after which
# Replicate deletes inputs.
LAG_SETTLE_TIMES = 4.0


def longest_settle_seconds(settle_seconds: float) -> float:
    """Return the age, in seconds, from which a request that is not in the list made nothing, also
    if the list holds no later prediction."""
    return settle_seconds + LAG_SETTLE_TIMES * min(settle_seconds, LEAST_SETTLE_SECONDS)


# Tests and drills shorten times of minutes.
HOUR_SECONDS = float(os.environ.get("IMAGEGEN_TEST_HOUR_SECONDS", "3600"))


def shortened(seconds: float) -> float:
    """Return a time in seconds, shortened as if an hour had `HOUR_SECONDS`."""
    return seconds * HOUR_SECONDS / 3600.0


def incident_seconds(waits: int) -> float:
    """Return the seconds to wait for the end of an incident, after `waits` such waits in a row."""
    return shortened(INCIDENT_SECONDS[min(waits, len(INCIDENT_SECONDS) - 1)])


class Kind(StrEnum):
    """Why a generation failed."""

    CONTENT_POLICY = "content_policy"
    TRANSIENT = "transient"
    HELD_BACK = "held_back"
    PERMANENT = "permanent"
    OVERLOADED = "overloaded"
    STUBBORN = "stubborn"
    UNKNOWN = "unknown"
    INVALID_PROMPT = "invalid_prompt"
    CANCELED = "canceled"
    MISCONFIGURED = "misconfigured"
    ABORTED = "aborted"
    UNREADABLE = "unreadable"
    NO_OUTPUT = "no_output"
    DATA_REMOVED = "data_removed"
    GONE = "gone"
    UNRESOLVED = "unresolved"
    GIVEN_UP = "given_up"


class Reason(StrEnum):
    """Why no prediction was made. It costs the token nothing."""

    THROTTLED = "throttled"
    UNAUTHORIZED = "unauthorized"
    NO_CREDIT = "no_credit"
    MISCONFIGURED = "misconfigured"
    INTERCEPTED = "intercepted"
    UNREACHABLE = "unreachable"
    UNAVAILABLE = "unavailable"
    DAILY_LIMIT = "daily_limit"
    DAILY_BUDGET = "daily_budget"
    PAUSED = "paused"
    UNREADABLE = "unreadable"
    FAILING = "failing"
    WITHDRAWN = "withdrawn"
    SET_ASIDE = "set_aside"


class Billed(Enum):
    """Whether Replicate bills a prediction that brought no image.

    "If a run fails, we don't charge you", and "if you cancel a run for an official model, you may
    still be charged" (Replicate's documentation, Billing).
    """

    NO = auto()
    YES = auto()
    PERHAPS = auto()


class Retry(Enum):
    """How the token may still get its image after a failure."""

    NEVER = auto()  # nothing: the token fails at once
    ATTEMPT = auto()  # another with the same prompt; other tokens show whose fault it is (law 3)
    ONCE_MORE = auto()  # another attempt, but not after two such failures in a row
    FALLBACK = auto()  # the fallback prompt, within the same attempt
    IF_REPLACED = auto()  # another attempt if the operator pays again (IMAGEGEN_REPLACE_LOST)


@dataclass(frozen=True)
class Failure:
    """The meaning of a kind of failure."""

    text: str  # for a person
    retry: Retry = Retry.NEVER
    billed: Billed = Billed.NO
    ran: bool = True  # False: it never ran, so it never counts as an attempt

    @property
    def may_be_paid_twice(self) -> bool:
        """Whether a prediction may follow one that was paid for, or perhaps was."""
        return self.billed is not Billed.NO and self.retry is not Retry.NEVER


@dataclass(frozen=True)
class Refusal:
    """The meaning of a reason of refusal."""

    text: str  # for a person
    passes_by_itself: bool = False  # no person has to do anything
    at_the_door: bool = True  # a generation is refused for it; False: it only waits


FAILURES = {
    Kind.CONTENT_POLICY: Failure("refused for its content", Retry.FALLBACK),
    Kind.TRANSIENT: Failure("Replicate failed, time and again", Retry.ATTEMPT),
    Kind.OVERLOADED: Failure("Replicate was overloaded, time and again", Retry.ATTEMPT),
    # Succeeded, and its images were held back as unsafe.
    Kind.HELD_BACK: Failure("paid for, and held back for its content", Retry.FALLBACK, Billed.YES),
    Kind.PERMANENT: Failure("Replicate refuses this input"),
    # A setting is the same for every token, but the error may still be this prompt's fault.
    Kind.MISCONFIGURED: Failure("the model refuses one of its settings", Retry.ATTEMPT),
    Kind.STUBBORN: Failure("the model breaks down on this input", Retry.ATTEMPT),
    Kind.UNKNOWN: Failure("failed for an unknown reason", Retry.ATTEMPT),
    # By imagegen itself: nothing was sent.
    Kind.INVALID_PROMPT: Failure("the prompt cannot be sent"),
    Kind.NO_OUTPUT: Failure("succeeded without an image", Retry.ONCE_MORE, Billed.YES),
    Kind.DATA_REMOVED: Failure(
        "paid for, and deleted before it was seen", Retry.IF_REPLACED, Billed.YES
    ),
    Kind.GONE: Failure(
        "accepted, and unknown to Replicate since", Retry.IF_REPLACED, Billed.PERHAPS
    ),
    Kind.UNRESOLVED: Failure(
        "perhaps paid for, and nobody can tell any more", billed=Billed.PERHAPS
    ),
    # By imagegen or by a person.
    Kind.CANCELED: Failure("the prediction was canceled", Retry.ATTEMPT, Billed.PERHAPS),
    # Its deadline passed before it started, which Replicate bills nowhere.
    Kind.ABORTED: Failure("the prediction was aborted before it ran", Retry.ATTEMPT, ran=False),
    # Succeeded, and nothing in its output is an image or the URL of one.
    Kind.UNREADABLE: Failure("the output holds no image", billed=Billed.YES),
    # Refused at the door for too long.
    Kind.GIVEN_UP: Failure("refused for too long"),
}

REFUSALS = {
    Reason.THROTTLED: Refusal("Replicate throttles us", passes_by_itself=True),
    Reason.UNAUTHORIZED: Refusal("Replicate refuses the API token"),
    Reason.NO_CREDIT: Refusal("the account has no credit left"),
    Reason.MISCONFIGURED: Refusal("Replicate refuses the model or one of its inputs"),
    # A proxy, a firewall or a captive portal answers, or has changed the request. It may be for
    # this prompt alone: a firewall may take it for an attack. The API token is not to blame.
    Reason.INTERCEPTED: Refusal("what stands between imagegen and Replicate refuses requests"),
    Reason.UNREACHABLE: Refusal("Replicate cannot be reached"),
    Reason.UNAVAILABLE: Refusal("Replicate answers with errors"),
    # These by imagegen itself. Predictions of several tokens in a row failed, or brought nothing
    # that can be read.
    Reason.FAILING: Refusal("one prediction after the other fails", at_the_door=False),
    Reason.UNREADABLE: Refusal("what the model makes cannot be read", at_the_door=False),
    Reason.DAILY_LIMIT: Refusal("the daily limit is reached", at_the_door=False),
    Reason.DAILY_BUDGET: Refusal("the daily budget is used up", at_the_door=False),
    # An operator's wish, so it passes. A generation that has sent nothing gives its token back.
    Reason.PAUSED: Refusal("an operator has paused it", passes_by_itself=True),
    Reason.WITHDRAWN: Refusal("the token no longer waits"),
    Reason.SET_ASIDE: Refusal("its row, its author, a trigger or a CHECK is in the way"),
}


def kinds_billed(billed: Billed) -> list[Kind]:
    """Return the kinds of failures that Replicate bills like this."""
    return [kind for kind, failure in FAILURES.items() if failure.billed is billed]
