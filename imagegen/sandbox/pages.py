"""Pages of the list of predictions."""

import base64
from dataclasses import dataclass
from datetime import UTC, datetime

from imagegen.sandbox.predictions import Order

PAGE = 100  # predictions on a page

Numbered = list[tuple[int, Order]]


@dataclass(frozen=True)
class Page:
    """One page, newest first, with the cursors to its neighbours."""

    orders: tuple[Order, ...]
    next: str | None
    previous: str | None


def page(newest_first: Numbered, query: dict[str, str]) -> Page:
    """The page that a query asks for. Raises ValueError where the query makes no sense."""
    after, before = moment(query.get("created_after")), moment(query.get("created_before"))
    asked = [
        (number, order)
        for number, order in newest_first
        if (after is None or order.created_at >= after)
        and (before is None or order.created_at < before)
    ]
    older, newer = split(asked, query.get("cursor"))
    shown = older[:PAGE]
    return Page(
        orders=tuple(order for _, order in shown),
        next=cursor_to("older", shown[-1][0]) if len(older) > PAGE else None,
        previous=cursor_to("newer", shown[0][0]) if newer and shown else None,
    )


def moment(text: str | None) -> float | None:
    """ISO 8601 as Unix time; UTC where no zone is named."""
    if text is None:
        return None
    when = datetime.fromisoformat(text)
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def split(newest_first: Numbered, cursor: str | None) -> tuple[Numbered, Numbered]:
    """What is on this page and after it, and what is before it.

    A cursor names the prediction at the edge, not a count: ones made meanwhile move nothing.
    """
    if cursor is None:
        return newest_first, []
    way, _, text = base64.urlsafe_b64decode(cursor).decode().partition("=")
    edge = int(text)
    if way == "older":
        first = sum(number >= edge for number, _ in newest_first)
    else:
        first = max(sum(number > edge for number, _ in newest_first) - PAGE, 0)
    return newest_first[first:], newest_first[:first]


def cursor_to(way: str, edge: int) -> str:
    return base64.urlsafe_b64encode(f"{way}={edge}".encode()).decode()
