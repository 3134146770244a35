"""The worker's only way to the tables: a verb for each thing that happens to a token."""

from imagegen.queue.closings import ClosingRefusedError
from imagegen.queue.daily_limit import DailyAllowance, DailyBudget, DailyLimitError
from imagegen.queue.fill import statements
from imagegen.queue.listener import Listener
from imagegen.queue.queue import Queue
from imagegen.queue.standing import PausedError, Standing
from imagegen.queue.values import (
    Applied,
    Claim,
    Complete,
    Decision,
    Doubt,
    EarlierRequest,
    FailAttempt,
    History,
    Postpone,
    Repairs,
    Requeue,
    UseFallback,
)

__all__ = [
    "Applied",
    "Claim",
    "ClosingRefusedError",
    "Complete",
    "DailyAllowance",
    "DailyBudget",
    "DailyLimitError",
    "Decision",
    "Doubt",
    "EarlierRequest",
    "FailAttempt",
    "History",
    "Listener",
    "PausedError",
    "Postpone",
    "Queue",
    "Repairs",
    "Requeue",
    "Standing",
    "UseFallback",
    "statements",
]
