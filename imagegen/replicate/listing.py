"""Replicate's list of predictions, read page by page."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from imagegen.replicate import list_page
from imagegen.replicate.list_page import Since
from imagegen.replicate.replies import NoAnswer, NotSent, Page, Rejected

Missing = Rejected | NotSent | NoAnswer
# A page or why there is none, and when it was sent, by the sender's clock.
ReadPage = Callable[[str], tuple[Page | Missing, datetime | None]]
ENDLESS_LIST = NoAnswer("a list of predictions without an end")


class Listing:
    """The pages of the list since the earliest of some times, by either clock, newest first.

    Iterating reads the pages one by one, and keeps none. It ends after the first page that is older
    than that time. Then `missing` says why there may be more predictions (None: there are not), and
    `sent_at` is when the first page was sent.
    """

    def __init__(self, read: ReadPage, since: Sequence[Since], most_pages: int) -> None:
        self.missing: Missing | None = None
        self.sent_at: datetime | None = None
        self._read = read
        self._since = since
        self._most_pages = most_pages

    def __iter__(self) -> Iterator[Page]:
        page, read_from = self._first()
        paths: set[str] = set()
        ids: set[str] = set()
        for _ in range(self._most_pages):
            if not isinstance(page, Page):
                self.missing = page
                return
            yield page
            if page.next_url is None or list_page.is_older(page, read_from):
                return
            path = list_page.own_path(page.next_url)
            before, ids = ids, {item.id for item in page.predictions if item.id}
            if path is None:
                self.missing = NoAnswer("a list of predictions that goes on elsewhere")
                return
            if path in paths or (ids and ids <= before):
                self.missing = NoAnswer("a list of predictions that repeats itself")
                return
            paths.add(path)
            page, _ = self._read(path)
        self.missing = ENDLESS_LIST

    def _first(self) -> tuple[Page | Missing, datetime]:
        """Return the first page, and the time since which it was asked for."""
        asked_from = min(each.asked_from for each in self._since)
        page, self.sent_at = self._read(list_page.path_since(asked_from))
        if isinstance(page, Page) and self.sent_at:
            by_theirs = min(each.by_their_clock(self.sent_at) for each in self._since)
            if by_theirs < asked_from:
                page, self.sent_at = self._read(list_page.path_since(by_theirs))
                return page, by_theirs
        return page, asked_from
