"""The rates that an account's limits leave to a supervisor, which all its workers share, with what
they have seen of its model."""

from collections.abc import Callable
from dataclasses import dataclass, field

from imagegen.config import Settings
from imagegen.replicate import BUDGET_BURST_SECONDS, RequestBudget, SharedNumbers
from imagegen.worker.create_rate import CreateRate, burst_within
from imagegen.worker.marker_seen import MarkerSeen


@dataclass(frozen=True)
class AccountRates:
    """Made before the workers are forked: they share it, also those that are started later."""

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
        """Create so many predictions a minute from now on; None: as many as was set. Returns
        whether that holds now: another process may keep the numbers locked."""
        per_minute = per_minute or self.settings.create_rate
        return self.creates.limit(per_minute / 60, _burst(self.settings, per_minute))

    def budget(self, sleep: Callable[[float], object]) -> RequestBudget:
        """Return the budget of all requests but creates, for one worker. In any minute no more than
        the limit leave, with the burst."""
        per_second = self.settings.poll_budget / (60 + BUDGET_BURST_SECONDS)
        return RequestBudget(per_second, sleep, self._requests)


def _burst(settings: Settings, per_minute: int) -> int:
    return burst_within(per_minute, settings.procs * settings.slots)
