"""What Replicate accepted and bills, from the ledger: the table `generations`."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from psycopg.rows import class_row

from imagegen.database import Connection, sql, statement_timeout
from imagegen.failures import Billed, Kind, kinds_billed

PRICES = "https://replicate.com/pricing"
SQL = sql.load("imagegen.operator", "spend.sql")


@dataclass(frozen=True)
class SpendRow:
    """The requests of one day (UTC), model and outcome; of all of them if these are None."""

    day: date | None
    model: str | None
    outcome: str | None
    predictions: int
    images_billed: int
    images_perhaps_billed: int
    predict_seconds: float


def read_spend(connection: Connection, since: datetime) -> list[SpendRow]:
    """Return the requests since then that Replicate accepted, or may have accepted.

    There is a row for each day, model and outcome, then the row of the total.
    """
    values = {
        "since": since,
        "billed": kinds_billed(Billed.YES),
        "perhaps": kinds_billed(Billed.PERHAPS),
        "unresolved": Kind.UNRESOLVED,
    }
    with statement_timeout(connection):
        cursor = connection.cursor(row_factory=class_row(SpendRow))
        return cursor.execute(SQL["spend"], values).fetchall()


def exact(price: float) -> Decimal:
    """Return the price as its user wrote it: sums of money must be exact in decimals."""
    return Decimal(repr(price))
