"""What Replicate accepted and bills, from the ledger: the table `generations`."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from psycopg.rows import class_row

from imagegen.database import Connection, statement_timeout
from imagegen.failures import Billed, Kind, kinds_billed

PRICES = "https://replicate.com/pricing"


@dataclass(frozen=True)
class Line:
    """The requests of one day (UTC), model and outcome; of all of them, where these are None."""

    day: date | None
    model: str | None
    outcome: str | None
    predictions: int
    images_billed: int
    images_perhaps_billed: int
    predict_seconds: float


def read_spend(connection: Connection, since: datetime) -> list[Line]:
    """What Replicate accepted, or perhaps accepted, by the time of the request: a line for each
    day, model and outcome, then the line of the total."""
    values = {
        "since": since,
        "billed": kinds_billed(Billed.YES),
        "perhaps": kinds_billed(Billed.PERHAPS),
        "unresolved": Kind.UNRESOLVED,
    }
    with statement_timeout(connection):
        return connection.cursor(row_factory=class_row(Line)).execute(SPEND, values).fetchall()


# Rows from before the column `images` have one image each.
SPEND = """
    WITH ledger AS (
        SELECT *,
            state = 'succeeded' OR coalesce(error_kind = ANY(%(billed)s), false) AS billed
        FROM generations
        WHERE requested_at >= %(since)s
            AND (prediction_id IS NOT NULL OR error_kind = %(unresolved)s)
    ), billed AS (
        SELECT prediction_id, model, predict_seconds,
            (requested_at AT TIME ZONE 'UTC')::date AS day,
            CASE WHEN state <> 'failed' THEN state
                ELSE 'failed: ' || coalesce(error_kind, 'unknown') END AS outcome,
            CASE WHEN billed THEN greatest(images, 1) ELSE 0 END AS images_billed,
            coalesce(error_kind = ANY(%(perhaps)s), false)::integer AS images_perhaps_billed
        FROM ledger
    )
    SELECT day, model, outcome, count(prediction_id) AS predictions,
        coalesce(sum(images_billed), 0)::bigint AS images_billed,
        coalesce(sum(images_perhaps_billed), 0)::bigint AS images_perhaps_billed,
        coalesce(sum(predict_seconds), 0) AS predict_seconds
    FROM billed
    GROUP BY GROUPING SETS ((day, model, outcome), ())
    ORDER BY day NULLS LAST, model, outcome"""


def exact(price: float) -> Decimal:
    """The price as its user wrote it: sums of money are no sums of binary fractions."""
    return Decimal(repr(price))
