"""The figures of the queue that /metrics and `imagegen status` show, read by one statement."""

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from imagegen.database.sql import parse
from imagegen.database.tables import STATUSES, Tables

TEXT = files("imagegen.database").joinpath("queue_stats.sql").read_text(encoding="utf-8")
SQL = parse(TEXT)


@dataclass(frozen=True)
class QueueStats:
    """The queue over all hosts. Seconds are None if there is nothing to measure."""

    tokens: dict[str, int]  # by status, in lower case
    oldest_waiting_seconds: float | None
    oldest_generating_seconds: float | None
    oldest_unfetched_seconds: float | None
    closings_refused: int  # generations whose end the database refuses to write to their tokens
    predictions_last_day: int
    images_last_day: int
    images_last_hour: int
    p50_seconds: float | None  # of the last hour, from the claim of a token to its image
    p95_seconds: float | None


def statement(tables: Tables) -> str:
    """Return the statement for all figures, whose one row `from_row` reads."""
    return tables.fill(SQL["stats"])


def from_row(row: dict[str, Any]) -> QueueStats:
    """Return the figures in a row, with 0 for a status without tokens."""
    return QueueStats(**row | {"tokens": dict.fromkeys(STATUSES, 0) | row["tokens"]})
