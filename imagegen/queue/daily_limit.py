"""The daily limit and the daily budget: how many predictions they still admit.

A request is counted and recorded in one transaction, so that neither is exceeded.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from psycopg.rows import dict_row

from imagegen.database import Connection
from imagegen.failures import Reason
from imagegen.queue.fill import Statement

# How long a request may wait to be counted, and how long the transaction of one may be idle.
LOCK_MILLISECONDS = 2000
IDLE_MILLISECONDS = 5000

Run = Callable[[str, Mapping[str, Any]], list[dict[str, Any]]]


@dataclass(frozen=True)
class DailyBudget:
    """How many dollars may be spent in any 24 hours, over all hosts."""

    dollars: Decimal
    # The most that a request of this worker may cost. It counts with this until it has ended, so
    # the budget holds also while many are in flight. None: no price is known here, so the budget
    # admits no request.
    request_dollars: Decimal | None
    # What a second costs, if the model is billed by the second.
    second_dollars: Decimal | None = None

    @property
    def prices(self) -> dict[str, Decimal | None]:
        """The parameters of `count_dollars`."""
        return {"estimated_cost": self.request_dollars, "second_dollars": self.second_dollars}

    def affords(self, used: Decimal) -> float:
        """Return how many more requests the budget admits after `used` dollars: none if it was
        lowered below them."""
        if self.request_dollars is None:
            return 0
        left = max(self.dollars - used, Decimal(0))
        return int(left // self.request_dollars) if self.request_dollars else math.inf


@dataclass(frozen=True)
class DailyLimits:
    """The limits of predictions and dollars in any 24 hours, over all hosts. None: no limit."""

    predictions: int | None = None
    budget: DailyBudget | None = None

    @property
    def are_set(self) -> bool:
        return self.predictions is not None or self.budget is not None

    def allowance(self, run: Run) -> "DailyAllowance":
        """Return how many predictions they still admit. `run` executes a statement by its name."""
        [counted] = run("count_requests", {})
        total, reason, is_spent = math.inf, Reason.DAILY_LIMIT, True
        if self.predictions is not None:
            # A limit that was lowered may be exceeded already.
            total = max(self.predictions - counted["requested"], 0)
        if self.budget:
            [used] = run("count_dollars", self.budget.prices)
            if (affordable := self.budget.affords(used["dollars"])) < total:
                total, reason = affordable, Reason.DAILY_BUDGET
                is_spent = not self.budget.affords(used["spent"])
        return DailyAllowance(total, max(total - counted["unsent"], 0), reason, is_spent)


@dataclass(frozen=True)
class DailyAllowance:
    """How many predictions are still admitted; infinite without a limit and a budget."""

    total: float = math.inf
    for_new_tokens: float = math.inf  # without those for claims that have not sent a request yet
    reason: Reason = Reason.DAILY_LIMIT  # the one of the two that admits fewer
    # False: the budget is not spent, but reserved for requests in flight, which may cost less.
    is_spent: bool = True

    @property
    def closed_by(self) -> Reason | None:
        """Why no prediction is admitted; None if one is, or may be when requests in flight end."""
        return self.reason if self.total <= 0 and self.is_spent else None


class DailyLimitError(Exception):
    """The predictions of the last 24 hours have reached the daily limit, or the daily budget."""


def record_within(
    limits: DailyLimits,
    connection: Connection,
    statements: Mapping[str, Statement],
    values: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Count and record a request in one transaction. Other requests wait for it, and count it.

    Returns the row that was written, or no row if the fence does not hold. Raises DailyLimitError.
    """
    with connection.transaction():
        cursor = connection.cursor(row_factory=dict_row)
        cursor.execute("SET LOCAL transaction_isolation = 'read committed'")
        # If a worker stops in this transaction, the others go on after these timeouts.
        cursor.execute(f"SET LOCAL lock_timeout = {LOCK_MILLISECONDS}")
        cursor.execute(f"SET LOCAL idle_in_transaction_session_timeout = {IDLE_MILLISECONDS}")
        cursor.execute(statements["lock_daily_limit"].text)

        def run(name: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
            return cursor.execute(statements[name].text, parameters or None).fetchall()

        if limits.allowance(run).total <= 0:
            raise DailyLimitError
        return cursor.execute(statements["record_request"].text, values).fetchall()
