"""The daily limit: how many predictions it still admits, counted and recorded together."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg.rows import dict_row

from imagegen.database import Connection
from imagegen.queue.fill import Statement

# How long a request may wait to be counted, and another one may stand still in its transaction.
LOCK_MILLISECONDS = 2000
IDLE_MILLISECONDS = 5000


@dataclass(frozen=True)
class DailyAllowance:
    """How many predictions the daily limit still admits; infinite without a limit."""

    total: float = math.inf
    for_new_tokens: float = math.inf  # the others are for claims that have not asked yet


class DailyLimitError(Exception):
    """The predictions of the last 24 hours have reached the daily limit."""


def allowance(limit: int, counted: Mapping[str, Any]) -> DailyAllowance:
    """Return what a limit admits, after the requests that `count_requests` counted."""
    # A limit that was lowered may be exceeded already.
    total = max(limit - counted["requested"], 0)
    return DailyAllowance(total, max(total - counted["unsent"], 0))


def record_within(
    limit: int,
    connection: Connection,
    statements: Mapping[str, Statement],
    values: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Count and record a request in one transaction: another one waits, and counts this one too.

    Returns the row that was written, or none. Raises DailyLimitError.
    """
    with connection.transaction():
        cursor = connection.cursor(row_factory=dict_row)
        cursor.execute("SET LOCAL transaction_isolation = 'read committed'")
        # A worker that stands still in this transaction lets the others go on after a while.
        cursor.execute(f"SET LOCAL lock_timeout = {LOCK_MILLISECONDS}")
        cursor.execute(f"SET LOCAL idle_in_transaction_session_timeout = {IDLE_MILLISECONDS}")
        cursor.execute(statements["lock_daily_limit"].text)
        [counted] = cursor.execute(statements["count_requests"].text).fetchall()
        if allowance(limit, counted).total <= 0:
            raise DailyLimitError
        return cursor.execute(statements["record_request"].text, values).fetchall()
