"""The requests that Replicate accepted, and their cost, from the ledger: `generations`,
`imagegen_duplicates`, and the totals of rows that were pruned."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal

from psycopg.rows import class_row

from imagegen.config import EXACT, Prices, Unit, exact
from imagegen.database import Connection, sql, statement_timeout
from imagegen.failures import Billed, Kind, kinds_billed

PRICES = "https://replicate.com/pricing"
SQL = sql.load("imagegen.operator", "spend.sql")
# A million rows take a second, on a busy machine ten.
QUERY_SECONDS = 60
# The keys by which requests may be added up, and the default ones.
KEYS = ("day", "model", "author", "outcome")
DEFAULT_KEYS = ("day", "model", "outcome")


@dataclass(frozen=True)
class SpendRow:
    """The requests of one day (UTC), model, author and outcome; of all of them if these are
    None."""

    day: date | None
    model: str | None
    outcome: str | None
    predictions: int
    images_billed: int
    images_perhaps_billed: int
    predict_seconds: float
    author: str | None = None  # the wallet, or the id if there is none
    dollars: Decimal = Decimal(0)
    dollars_perhaps: Decimal = Decimal(0)
    # Requests that are or may be billed, and have no cost in the ledger: those that have today's
    # price, which `dollars` includes, and those without a price.
    priced_today: int = 0
    unpriced: int = 0
    priced: int = 0  # these have a cost in the ledger


@dataclass(frozen=True)
class Entry:
    """A part of the bill, as the database adds it up."""

    day: date
    model: str
    author: str
    outcome: str
    billing: str  # yes, perhaps or no
    is_priced: bool
    requests: int
    predictions: int
    images: int
    predict_seconds: float
    cost: Decimal


def parameters() -> dict[str, object]:
    """Return the kinds of failures that the statements of the bill compare with."""
    return {
        "billed": kinds_billed(Billed.YES),
        "perhaps": kinds_billed(Billed.PERHAPS),
        "unresolved": Kind.UNRESOLVED,
    }


def read_spend(
    connection: Connection,
    since: datetime,
    prices: Prices | None = None,
    keys: Collection[str] = DEFAULT_KEYS,
) -> list[SpendRow]:
    """Return the requests after `since` that Replicate accepted, or may have accepted.

    There is a row for each combination of `keys`, then the row of the total. Requests without a
    cost in the ledger have that of `prices`.
    """
    by_author = "author" in keys
    values = {"since": since, "by_author": by_author} | parameters()
    with statement_timeout(connection, QUERY_SECONDS):
        cursor = connection.cursor(row_factory=class_row(Entry))
        entries = cursor.execute(SQL["spend"], values).fetchall()
        ids = sorted({entry.author for entry in entries if entry.author})
        found = connection.execute(SQL["wallets"], [ids]).fetchall() if ids else []
    wallets = {str(author): str(wallet) for author, wallet in found if wallet}
    return added_up([to_row(entry, prices, wallets) for entry in entries], keys)


def to_row(entry: Entry, prices: Prices | None, wallets: dict[str, str]) -> SpendRow:
    """Return an entry with its dollars."""
    is_billed = entry.billing != "no"
    dollars = entry.cost if entry.is_priced else _dollars_today(entry, prices)
    is_perhaps = entry.billing == "perhaps" and not _bills_canceled(entry, prices)
    return SpendRow(
        entry.day,
        entry.model,
        entry.outcome,
        entry.predictions,
        0 if is_perhaps else entry.images,
        entry.images if is_perhaps else 0,
        entry.predict_seconds,
        wallets.get(entry.author, entry.author) or "unknown",
        Decimal(0) if is_perhaps or dollars is None else dollars,
        dollars if is_perhaps and dollars is not None else Decimal(0),
        entry.requests if is_billed and not entry.is_priced and dollars is not None else 0,
        entry.requests if is_billed and dollars is None else 0,
        entry.requests if entry.is_priced else 0,
    )


def _bills_canceled(entry: Entry, prices: Prices | None) -> bool:
    """Return whether an entry is of canceled runs, and its model surely bills those."""
    price = prices.of(entry.model) if prices else None
    is_canceled = entry.outcome == f"failed: {Kind.CANCELED}"
    return price is not None and price.bills_failures and is_canceled


def added_up(rows: Sequence[SpendRow], keys: Collection[str]) -> list[SpendRow]:
    """Return the rows added up by these keys, then the total. Other keys are None.

    With the default keys the order is that of the rows, else that of the keys.
    """
    others = dict.fromkeys(set(KEYS) - set(keys))
    groups: dict[SpendRow, list[SpendRow]] = {}
    for row in rows:
        key = SpendRow(row.day, row.model, row.outcome, 0, 0, 0, 0.0, row.author)
        groups.setdefault(replace(key, **others), []).append(row)  # type: ignore[arg-type]
    lines = [_sum(key, group) for key, group in groups.items()]
    if tuple(keys) != DEFAULT_KEYS:
        lines.sort(key=lambda line: [str(getattr(line, key)) for key in keys])
    return [*lines, _sum(SpendRow(None, None, None, 0, 0, 0, 0.0), rows)]


def _sum(key: SpendRow, rows: Iterable[SpendRow]) -> SpendRow:
    total = key
    for row in rows:
        total = replace(
            total,
            predictions=total.predictions + row.predictions,
            images_billed=total.images_billed + row.images_billed,
            images_perhaps_billed=total.images_perhaps_billed + row.images_perhaps_billed,
            predict_seconds=total.predict_seconds + row.predict_seconds,
            dollars=EXACT.add(total.dollars, row.dollars),
            dollars_perhaps=EXACT.add(total.dollars_perhaps, row.dollars_perhaps),
            priced_today=total.priced_today + row.priced_today,
            unpriced=total.unpriced + row.unpriced,
            priced=total.priced + row.priced,
        )
    return total


def _dollars_today(entry: Entry, prices: Prices | None) -> Decimal | None:
    """Return what an entry without costs would cost today; None if no price says it."""
    price = prices.of(entry.model) if prices else None
    if price is None:
        return None
    is_billed = entry.billing != "no"
    match price.unit:
        case Unit.IMAGE:
            return EXACT.multiply(price.dollars, Decimal(entry.images))
        case Unit.RUN:
            return EXACT.multiply(price.dollars, Decimal(entry.requests * is_billed))
        case Unit.SECOND:
            return EXACT.multiply(price.dollars, exact(entry.predict_seconds * is_billed))
        case Unit.MEGAPIXEL:  # the sizes of the images are not recorded
            return None if is_billed else Decimal(0)
