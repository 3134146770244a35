"""The rates of requests that all workers of a supervisor share, and whether its model returns the
marker."""

from collections.abc import Callable
from dataclasses import dataclass, field

from imagegen.config import Settings
from imagegen.replicate import BUDGET_BURST_SECONDS, RequestBudget, SharedNumbers
from imagegen.worker.create_rate import CreateRate, burst_within
from imagegen.worker.marker_seen import MarkerSeen


@dataclass(frozen=True)
class AccountRates:
    """Make it before the workers are forked: all share it, also those that are started later."""

    settings: Settings
    creates: CreateRate
    marker_seen: MarkerSeen
    _requests: SharedNumbers = field(default_factory=lambda: SharedNumbers(1))

    @classmethod
    def of(cls, settings: Settings) -> "AccountRates":
        burst = _burst(settings, settings.create_rate)
        creates = CreateRate(settings.create_rate / 60, burst, settings.procs)
        return cls(settings, creates, MarkerSeen(settings))

    def limit_creates(self, per_minute: int | None) -> bool:
        """Set how many predictions are created a minute; None: as in the settings. Return whether
        it is set: another process may keep the numbers locked."""
        per_minute = per_minute or self.settings.create_rate
        return self.creates.limit(per_minute / 60, _burst(self.settings, per_minute))

    def budget(self, sleep: Callable[[float], object]) -> RequestBudget:
        """Return the budget of all requests but creates, for one worker. With the burst, no more
        than the limit leave in any minute."""
        per_second = self.settings.poll_budget / (60 + BUDGET_BURST_SECONDS)
        return RequestBudget(per_second, sleep, self._requests)


def _burst(settings: Settings, per_minute: int) -> int:
    return burst_within(per_minute, settings.procs * settings.slots)
