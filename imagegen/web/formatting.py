"""Values in words, and strangers' text made harmless."""

import unicodedata
from datetime import UTC, datetime
from html import escape

from imagegen.failures import FAILURES, REFUSALS, Kind, Reason

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
        reason = REFUSALS[Reason(kind)].text if kind in set(Reason) else kind
        return f"{FAILURES[Kind.GIVEN_UP].text}: {reason}"
    return FAILURES[Kind(kind)].text if kind in set(Kind) else kind or UNRECORDED


def reason(name: str) -> str:
    """Why a gate is closed."""
    return REFUSALS[Reason(name)].text if name in set(Reason) else name


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
