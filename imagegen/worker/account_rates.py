"""The rates that an account's limits leave to a supervisor, which all its workers share."""

from collections.abc import Callable
from dataclasses import dataclass, field

from imagegen.config import Settings
from imagegen.replicate import BUDGET_BURST_SECONDS, RequestBudget, SharedNumbers
from imagegen.worker.create_rate import CreateRate, burst_within


@dataclass(frozen=True)
class AccountRates:
    """Made before the workers are forked: they share it, also those that are started later."""

    settings: Settings
    creates: CreateRate
    _requests: SharedNumbers = field(default_factory=lambda: SharedNumbers(1))

    @classmethod
    def of(cls, settings: Settings) -> "AccountRates":
        burst = burst_within(settings.create_rate, settings.procs * settings.slots)
        return cls(settings, CreateRate(settings.create_rate / 60, burst, settings.procs))

    def budget(self, sleep: Callable[[float], object]) -> RequestBudget:
        """Return the budget of all requests but creates, for one worker. In any minute no more than
        the limit leave, with the burst."""
        per_second = self.settings.poll_budget / (60 + BUDGET_BURST_SECONDS)
        return RequestBudget(per_second, sleep, self._requests)
