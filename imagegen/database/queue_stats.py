"""The figures of the queue that /metrics and `imagegen status` show, read by one statement."""

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from imagegen.database import acts
from imagegen.database.connection import Connection, statement_timeout
from imagegen.database.odd_tokens import KINDS, REASONS, OddTokens
from imagegen.database.sql import parse
from imagegen.database.tables import STATUSES, Tables

TEXT = acts.TEXT + files("imagegen.database").joinpath("queue_stats.sql").read_text("utf-8")
SQL = parse(TEXT)
# `scraped` counts up to this many tokens, which takes 15 ms.
COUNTED_UP_TO = 100_000
# Of each kind of odd tokens.
TOKENS_NAMED = 10


@dataclass(frozen=True)
class QueueStats:
    """The queue over all hosts. Seconds are None if there is nothing to measure."""

    tokens: dict[str, int]  # by status, in lower case; "none" without one
    tokens_set_aside: dict[str, int]  # by kind, see `odd_tokens`; no more than 1000 are counted
    tokens_unsent: int  # at work, without a prediction yet
    tokens_held: int  # by operators; of those that are `detected`
    pause: acts.Pause | None
    limits: acts.Limits  # that operators have set
    oldest_waiting_seconds: float | None
    oldest_generating_seconds: float | None
    oldest_unfetched_seconds: float | None
    oldest_expiring_seconds: float | None  # of unfetched images whose URL ends after an hour
    images_lost: int  # of the last day: deleted at Replicate, unfetched and without a copy
    closings_refused: int  # generations whose end the database refuses to write to their tokens
    predictions_last_day: int
    images_last_day: int
    dollars_last_day: float | None  # of generations that have ended and have a price
    images_last_hour: int
    p50_seconds: float | None  # of the last hour, from the claim of a token to its image
    p95_seconds: float | None
    audit_unexplained: int | None  # by the last `imagegen audit`; None: there was none
    audit_age_seconds: float | None


def statement(tables: Tables) -> str:
    """Return the statement for all figures. `from_row` reads its one row."""
    return tables.fill(SQL["stats"])


def quick_statement(tables: Tables) -> str:
    """Return the same with an estimated number of tokens if there are very many."""
    return tables.fill(SQL["scraped"], counted_up_to=COUNTED_UP_TO)


def from_row(row: dict[str, Any]) -> QueueStats:
    """Return the figures in a row, with 0 for a status or a kind without tokens."""
    tokens = dict.fromkeys(STATUSES, 0) | row["tokens"]
    set_aside = dict.fromkeys(KINDS, 0) | row["tokens_set_aside"]
    pause = acts.Pause(**row["pause"]) if row["pause"] else None
    more = {"pause": pause, "limits": acts.Limits.of(row["limits"])}
    return QueueStats(**row | {"tokens": tokens, "tokens_set_aside": set_aside} | more)


def odd_tokens(connection: Connection, tables: Tables, timeout_seconds: int) -> list[OddTokens]:
    """Return the odd tokens. Raises QueryCanceled if that takes longer than `timeout_seconds`."""
    with statement_timeout(connection, timeout_seconds):
        rows = connection.execute(tables.fill(SQL["odd_tokens"]), {"named": TOKENS_NAMED})
        return [
            OddTokens(kind, REASONS[kind][0] if kind in REASONS else reason, count, token_ids)
            for kind, reason, count, token_ids in rows
        ]
