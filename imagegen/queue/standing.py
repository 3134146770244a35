"""What operators have asked for, as a worker last read it."""

from collections.abc import Mapping
from typing import Any

from imagegen.database import acts


class PausedError(Exception):
    """An operator has paused imagegen: no request may be recorded."""


class Standing:
    """The pause and the limits that hold. The queues of a worker share it, between threads."""

    def __init__(self, daily_limit: int | None) -> None:
        """`daily_limit` is the setting, which operators may change."""
        self._setting = daily_limit
        self.pause: acts.Pause | None = None
        self.limits = acts.Limits()

    @property
    def daily_limit(self) -> int | None:
        """The daily limit that holds; None: there is none."""
        return self.limits.daily(self._setting)

    def note(self, row: Mapping[str, Any]) -> None:
        """Note what the statement `standing` has returned."""
        pause = row["pause"]
        self.pause = acts.Pause(**pause) if pause else None
        self.limits = acts.Limits.of(row["limits"])
