"""Values as the page writes them, and text from outside made harmless."""

import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape

from imagegen.failures import FAILURES, REFUSALS, Kind, Reason
from imagegen.text import plural, shorten

UNRECORDED = "no reason was recorded"

SPACE = "\N{NO-BREAK SPACE}"
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# These reverse the text after them, so that a page shows something else than its source.
BIDI_CONTROLS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}


def printable(value: object, characters: int | None = None) -> str:
    """Return text from outside in one line of at most `characters`, not yet escaped.

    Control characters are replaced.
    """
    line = "".join(map(_harmless, " ".join(str(value).split())))
    return shorten(line, characters) if characters else line


def text(value: object, characters: int | None = None) -> str:
    """Return text from outside as HTML, for text and attributes."""
    return escape(printable(value, characters))


def _harmless(character: str) -> str:
    reverses = unicodedata.bidirectional(character) in BIDI_CONTROLS
    return REPLACEMENT if reverses or unicodedata.category(character) in UNPRINTABLE else character


def why_failed(kind: str | None, *, refused: bool) -> str:
    """Return why a token failed. `refused`: Replicate refused it until it was given up."""
    if refused:
        return f"{FAILURES[Kind.GIVEN_UP].text}: {why_closed(kind) if kind else kind}"
    return FAILURES[Kind(kind)].text if kind in set(Kind) else kind or UNRECORDED


def why_closed(reason: str) -> str:
    """Return why a gate is closed."""
    return REFUSALS[Reason(reason)].text if reason in set(Reason) else reason


def count(number: int) -> str:
    return f"{number:,}"


def estimate(number: int) -> str:
    """Return the number to three digits: PostgreSQL's estimates are not more exact."""
    return f"≈{SPACE}{count(int(float(f'{number:.3g}')))}"


def images_and_failures(images: int, failed: int) -> str:
    """Return both numbers in words: of attempts, because a token may have failed ones and its
    image."""
    return f"{plural(images, 'image')}, {plural(failed, 'attempt')} failed"


def listed(names: Iterable[str]) -> str:
    """Return a, b and c."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def duration(seconds: float) -> str:
    """Return 0.4 s, 45 s, 12 min, 5 h or 3 d."""
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f}{SPACE}s"
    for limit, unit, length in ((90, "s", 1), (5400, "min", 60), (129_600, "h", 3600)):
        if seconds < limit:
            return f"{seconds / length:.0f}{SPACE}{unit}"
    return f"{seconds / 86_400:.0f}{SPACE}d"


def ago(seconds: float) -> str:
    return "just now" if seconds < 10 else f"{duration(seconds)} ago"


def clock(epoch: float) -> str:
    """Return the time of day, UTC."""
    return f"{datetime.fromtimestamp(epoch, UTC):%H:%M}"


def iso(epoch: float) -> str:
    return f"{datetime.fromtimestamp(epoch, UTC):%Y-%m-%dT%H:%M:%SZ}"
