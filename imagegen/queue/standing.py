"""The pause and the limits that operators have set, as a worker last read them."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from imagegen.database import acts


class PausedError(Exception):
    """An operator has paused imagegen: no request may be recorded."""


class Standing:
    """The pause and the limits that hold. The queues of a worker share it. Safe between threads."""

    def __init__(self, daily_limit: int | None, daily_budget: Decimal | None = None) -> None:
        """The daily limit and the daily budget (dollars) of the settings, which operators may
        change."""
        self._settings = daily_limit, daily_budget
        self.pause: acts.Pause | None = None
        self.limits = acts.Limits()

    @property
    def daily_limit(self) -> int | None:
        """The daily limit that holds; None: there is none."""
        return self.limits.daily(self._settings[0])

    @property
    def daily_budget(self) -> Decimal | None:
        """The daily budget that holds; None: there is none."""
        return self.limits.budget(self._settings[1])

    def note(self, row: Mapping[str, Any]) -> None:
        """Note the row of the statement `standing`."""
        pause = row["pause"]
        self.pause = acts.Pause(**pause) if pause else None
        self.limits = acts.Limits.of(row["limits"])
