"""Why a generation failed, and why Replicate refused one: the labels of metrics and rows."""

from enum import StrEnum


class Kind(StrEnum):
    """Why a generation failed."""

    CONTENT_POLICY = "content_policy"  # the fallback prompt may pass
    TRANSIENT = "transient"  # another try may pass; costs an attempt
    HELD_BACK = "held_back"  # succeeded, paid for, its images held back: the fallback may pass
    PERMANENT = "permanent"  # this token's input can never pass
    OVERLOADED = "overloaded"  # Replicate's own trouble: as transient, much later
    STUBBORN = "stubborn"  # mostly comes back for the same input: tried at most twice
    UNKNOWN = "unknown"  # no message, or one never seen: as transient
    INVALID_PROMPT = "invalid_prompt"  # refused by imagegen itself: nothing was sent
    CANCELED = "canceled"  # by imagegen or somebody else, perhaps paid for; another try may pass
    UNREADABLE = "unreadable"  # paid for, and its output holds no URL of an image
    NO_OUTPUT = "no_output"  # succeeded without an image; another try may have one
    DATA_REMOVED = "data_removed"  # paid for, and deleted before it was seen
    GONE = "gone"  # accepted, and unknown to Replicate since
    UNRESOLVED = "unresolved"  # perhaps paid for, and nobody can tell any more
    GIVEN_UP = "given_up"  # refused at the door for too long


class Reason(StrEnum):
    """Why Replicate refused at the door. Costs the token nothing."""

    THROTTLED = "throttled"
    UNAUTHORIZED = "unauthorized"
    NO_CREDIT = "no_credit"
    MISCONFIGURED = "misconfigured"
    UNREACHABLE = "unreachable"
    UNAVAILABLE = "unavailable"
    DAILY_LIMIT = "daily_limit"  # by imagegen itself: so many a day and no more
    WITHDRAWN = "withdrawn"  # by imagegen itself: the token no longer waits
