"""A page of Replicate's list, read item by item: a page may hold images as text, hundreds of MB."""

import codecs
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote, urlsplit

from imagegen.replicate.http import boottime
from imagegen.replicate.marker import Marker
from imagegen.replicate.replies import Page, parse_listed

# The most characters of one item. An image as text has a few MB.
ITEM_CHARACTERS = 64 * 1024 * 1024
PATH = "/predictions"
# Python refuses integers of more than 4300 digits. One in another item must not hide ours.
DECODER = json.JSONDecoder(parse_int=float)
WHITE_SPACE = " \t\n\r"


@dataclass(frozen=True)
class Since:
    """When something was sent, by two clocks: a time of the database, and how long ago it is.

    The clocks of the database and of Replicate may be apart by `slack_seconds`. By Replicate's own
    clock half of it is enough.
    """

    at: datetime
    seconds_ago: float  # at `noted_at`
    noted_at: float  # by `boottime`
    slack_seconds: float

    @property
    def asked_from(self) -> datetime:
        """The time since which a list surely holds the prediction that was made."""
        return self.at - timedelta(seconds=self.slack_seconds)

    def by_their_clock(self, their_now: datetime) -> datetime:
        """Return the same time by Replicate's own clock, which shows `their_now`."""
        age_seconds = self.seconds_ago + boottime() - self.noted_at
        return their_now - timedelta(seconds=age_seconds + self.slack_seconds / 2)


def path_since(since: datetime) -> str:
    """Return the path of the list's first page."""
    return f"{PATH}?created_after={quote(since.isoformat())}"


def own_path(next_url: str) -> str | None:
    """Return the path of the next page below our own base URL; None if it is no list of
    predictions. So the API token goes to no other host, and a proxy need not rewrite answers."""
    try:
        parts = urlsplit(next_url)
    except ValueError:
        return None
    if not parts.path.endswith(PATH) or not parts.query or not parts.query.isascii():
        return None
    return f"{PATH}?{parts.query}"


def is_path(path: str) -> bool:
    """Return whether a path is that of a page."""
    return path.startswith(f"{PATH}?")


def is_older(page: Page, since: datetime) -> bool:
    """Return whether all of a page's predictions were made before `since`; False without times."""
    times = [item.created_at for item in page.predictions if item.created_at is not None]
    return bool(times) and max(times) < since


def read_page(chunks: Iterable[bytes], marker: Marker | None) -> Page:
    """Return the predictions of a page, without their outputs, and where the next page is.

    An item that is no prediction is left out. Raises ValueError or RecursionError if this is no
    page of a list.
    """
    text = _Text(chunks)
    page = None
    next_url: object = None
    text.expect("{")
    while text.peek() != "}":
        name = text.value()
        text.expect(":")
        if name == "results" and text.peek() == "[":
            page = [item for body in _items(text) if (item := parse_listed(body, marker))]
        elif name == "next":
            next_url = text.value()
        else:
            text.value()
        text.skip_comma()
    if page is None or not isinstance(next_url, str | None):
        raise ValueError("no list of predictions")
    return Page(page, next_url or None)


def _items(text: "_Text") -> Iterator[object]:
    text.expect("[")
    while text.peek() != "]":
        yield text.value()
        text.skip_comma()
    text.expect("]")


class _Text:
    """JSON that is read as it arrives. Values that were returned are not kept."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = codecs.iterdecode(chunks, "utf-8")
        self._text = ""
        self._at = 0

    def peek(self) -> str:
        """Return the next character that is no white space."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in WHITE_SPACE:
                    return self._text[self._at]
                self._at += 1
            if not self._read_on():
                raise ValueError("it ends too early")

    def expect(self, character: str) -> None:
        if self.peek() != character:
            raise ValueError(f"no {character} where it must be")
        self._at += 1

    def skip_comma(self) -> None:
        if self.peek() == ",":
            self._at += 1

    def value(self) -> object:
        """Return the next value."""
        self.peek()
        while True:
            try:
                value, end = DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError:
                if not self._read_on():
                    raise
            else:
                # A number might go on in the next chunk.
                if end < len(self._text) or not self._read_on():
                    self._at = end
                    return value

    def _read_on(self) -> bool:
        """Read until there is at least twice as much text: a long value would be decoded again for
        each chunk otherwise. Returns whether there was more."""
        parts = [self._text[self._at :]]
        wanted = length = len(parts[0])
        if length > ITEM_CHARACTERS:
            raise ValueError("an item without an end")
        for part in self._chunks:
            parts.append(part)
            length += len(part)
            if length > 2 * wanted:
                break
        has_more = length > wanted
        self._text, self._at = "".join(parts), 0
        return has_more
