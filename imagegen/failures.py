"""Why a generation failed or was refused, and what each of these means, in one table each.

Names of kinds and reasons are values of rows, labels of metrics and fields of logs. A new kind is
one member and one row of `FAILURES`: retries, spend, metrics and the status page read them here.
"""

from dataclasses import dataclass
from enum import Enum, StrEnum, auto

MAX_ATTEMPTS = 3
# 1, 2, 4 s: long enough for a hiccup of one machine at Replicate, short enough for a P95 of 60 s.
QUICK_SECONDS = (1.0, 2.0, 4.0)
# An outage that shows only in what becomes of predictions burns no token.
OVERLOADED_SECONDS = (20.0, 600.0)

# A request without an answer counts as failed only after its settle time, when it can arrive no
# more (law 2). It is written within the first part of that time. TCP gives it up when it is not
# acknowledged for so long: a network that loses packets takes a few seconds, and each second more
# would be two of the settle time. What has arrived is in Replicate's list this much later.
SEND_WITHIN = 0.5
UNACKNOWLEDGED_SECONDS = 20.0
LISTED_SECONDS = 10.0
LEAST_SETTLE_SECONDS = (UNACKNOWLEDGED_SECONDS + LISTED_SECONDS) / (1 - SEND_WITHIN)


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
    UNREACHABLE = "unreachable"
    UNAVAILABLE = "unavailable"
    DAILY_LIMIT = "daily_limit"
    UNREADABLE = "unreadable"
    WITHDRAWN = "withdrawn"


class Billed(Enum):
    """Whether Replicate bills a prediction that brought no image.

    "If a run fails, we don't charge you", and "if you cancel a run for an official model, you may
    still be charged" (Replicate's documentation, Billing).
    """

    NO = auto()
    YES = auto()
    PERHAPS = auto()


class Retry(Enum):
    """What may bring the token's image after a failure."""

    NEVER = auto()  # nothing: the token fails at once
    ATTEMPT = auto()  # another attempt with the same prompt
    ONCE_MORE = auto()  # the same, but not after two such failures in a row
    FALLBACK = auto()  # the fallback prompt, within the same attempt
    IF_REPLACED = auto()  # another attempt where the operator pays again (IMAGEGEN_REPLACE_LOST)


@dataclass(frozen=True)
class Failure:
    """What a kind of failure means."""

    text: str  # for a person
    retry: Retry = Retry.NEVER
    billed: Billed = Billed.NO
    retry_seconds: tuple[float, ...] = QUICK_SECONDS  # after the first attempt, the second …

    @property
    def may_be_paid_twice(self) -> bool:
        """Whether a prediction may follow one that was paid for, or perhaps was."""
        return self.billed is not Billed.NO and self.retry is not Retry.NEVER


@dataclass(frozen=True)
class Refusal:
    """What a reason of refusal means."""

    text: str  # for a person
    passes_by_itself: bool = False  # nobody need look after it
    at_the_door: bool = True  # a generation is refused for it; else it only waits


FAILURES = {
    Kind.CONTENT_POLICY: Failure("refused for its content", Retry.FALLBACK),
    Kind.TRANSIENT: Failure("Replicate failed, time and again", Retry.ATTEMPT),
    Kind.OVERLOADED: Failure(
        "Replicate was overloaded, time and again",
        Retry.ATTEMPT,
        retry_seconds=OVERLOADED_SECONDS,
    ),
    # Succeeded, and its images were held back as unsafe.
    Kind.HELD_BACK: Failure("paid for, and held back for its content", Retry.FALLBACK, Billed.YES),
    Kind.PERMANENT: Failure("Replicate refuses this input"),
    # These errors mostly come back for the same input.
    Kind.STUBBORN: Failure("the model breaks down on this input", Retry.ONCE_MORE),
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
    # By imagegen or by somebody else.
    Kind.CANCELED: Failure("the prediction was canceled", Retry.ATTEMPT, Billed.PERHAPS),
    # Succeeded, and nothing in its output is an image or the URL of one.
    Kind.UNREADABLE: Failure("the output holds no image", billed=Billed.YES),
    # Refused at the door for too long.
    Kind.GIVEN_UP: Failure("refused for too long"),
}

REFUSALS = {
    Reason.THROTTLED: Refusal("Replicate throttles us", passes_by_itself=True),
    Reason.UNAUTHORIZED: Refusal("Replicate refuses the API token"),
    Reason.NO_CREDIT: Refusal("the account has no credit left"),
    Reason.MISCONFIGURED: Refusal("Replicate does not know the model"),
    Reason.UNREACHABLE: Refusal("Replicate cannot be reached"),
    Reason.UNAVAILABLE: Refusal("Replicate answers with errors"),
    # These three by imagegen itself. Two predictions in a row brought nothing that can be read.
    Reason.UNREADABLE: Refusal("what the model makes cannot be read", at_the_door=False),
    Reason.DAILY_LIMIT: Refusal("the daily limit is reached", at_the_door=False),
    Reason.WITHDRAWN: Refusal("the token no longer waits"),
}


def kinds_billed(billed: Billed) -> list[Kind]:
    """Return the kinds of failures of predictions that Replicate bills so."""
    return [kind for kind, failure in FAILURES.items() if failure.billed is billed]
