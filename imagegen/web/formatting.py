"""Values in words, and strangers' text made harmless."""

import unicodedata
from datetime import UTC, datetime
from html import escape

from imagegen.failures import Kind, Reason

KINDS = {
    Kind.CONTENT_POLICY: "refused for its content",
    Kind.TRANSIENT: "Replicate failed, time and again",
    Kind.OVERLOADED: "Replicate was overloaded, time and again",
    Kind.HELD_BACK: "paid for, and held back for its content",
    Kind.PERMANENT: "Replicate refuses this input",
    Kind.STUBBORN: "the model breaks down on this input",
    Kind.UNKNOWN: "failed for an unknown reason",
    Kind.INVALID_PROMPT: "the prompt cannot be sent",
    Kind.NO_OUTPUT: "succeeded without an image",
    Kind.DATA_REMOVED: "paid for, and deleted before it was seen",
    Kind.GONE: "accepted, and unknown to Replicate since",
    Kind.UNRESOLVED: "perhaps paid for, and nobody can tell any more",
    Kind.CANCELED: "the prediction was canceled",
    Kind.UNREADABLE: "the output holds no image",
    Kind.GIVEN_UP: "refused for too long",
}
REASONS = {
    Reason.THROTTLED: "Replicate throttles us",
    Reason.UNAUTHORIZED: "Replicate refuses the API token",
    Reason.NO_CREDIT: "the account has no credit left",
    Reason.MISCONFIGURED: "Replicate does not know the model",
    Reason.UNREACHABLE: "Replicate cannot be reached",
    Reason.UNAVAILABLE: "Replicate answers with errors",
    Reason.DAILY_LIMIT: "the daily limit is reached",
    Reason.WITHDRAWN: "the token no longer waits",
}
UNRECORDED = "no reason was recorded"

SPACE = "\N{NO-BREAK SPACE}"
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# They turn round what follows, so that a page says something else than its text.
BIDI_CONTROLS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}


def text(value: object, most: int | None = None) -> str:
    """A value as HTML text or attribute, in one line, of at most so many characters."""
    line = "".join(map(_harmless, " ".join(str(value).split())))
    return escape(cut(line, most) if most else line)


def cut(line: str, most: int) -> str:
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def _harmless(character: str) -> str:
    turns = unicodedata.bidirectional(character) in BIDI_CONTROLS
    return REPLACEMENT if turns or unicodedata.category(character) in UNPRINTABLE else character


def why_failed(kind: str | None, *, refused: bool) -> str:
    """Why a token failed. `refused`: at the door, for so long that it was given up."""
    if refused:
        reason = REASONS[Reason(kind)] if kind in set(Reason) else kind
        return f"{KINDS[Kind.GIVEN_UP]}: {reason}"
    return KINDS[Kind(kind)] if kind in set(Kind) else kind or UNRECORDED


def reason(name: str) -> str:
    """Why a gate is closed."""
    return REASONS[Reason(name)] if name in set(Reason) else name


def count(number: int) -> str:
    return f"{number:,}"


def images_and_failures(images: int, failed: int) -> str:
    """A token may have failed attempts and its image: what failed is not called a token."""
    made = f"{count(images)} image{'' if images == 1 else 's'}"
    return f"{made}, {count(failed)} attempt{'' if failed == 1 else 's'} failed"


def duration(seconds: float) -> str:
    """0.4 s, 45 s, 12 min, 5 h or 3 d."""
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f}{SPACE}s"
    for most, unit, length in ((90, "s", 1), (5400, "min", 60), (129_600, "h", 3600)):
        if seconds < most:
            return f"{seconds / length:.0f}{SPACE}{unit}"
    return f"{seconds / 86_400:.0f}{SPACE}d"


def ago(seconds: float) -> str:
    return "just now" if seconds < 10 else f"{duration(seconds)} ago"


def clock(epoch: float) -> str:
    """The time of day, UTC."""
    return f"{datetime.fromtimestamp(epoch, UTC):%H:%M}"


def moment(epoch: float, shown: str) -> str:
    """A time as HTML: `shown` in words, all of it to whoever points at it."""
    iso = f"{datetime.fromtimestamp(epoch, UTC):%Y-%m-%dT%H:%M:%SZ}"
    return f'<time datetime="{iso}" title="{iso}">{shown}</time>'
