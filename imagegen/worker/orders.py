"""Applies the pause and the limits that operators have set: a pause closes a worker's gate, limits
change its create rate. The daily limit is applied where it is counted (imagegen/queue)."""

import time

from imagegen.database import acts
from imagegen.failures import Reason
from imagegen.logs import log
from imagegen.queue import Queue
from imagegen.worker.account_rates import AccountRates
from imagegen.worker.gate import Gate


class Orders:
    """Applies the pause and limits that the queue has read with its last claim. While all slots are
    busy, and nothing is claimed, it reads them itself."""

    def __init__(self, queue: Queue, gate: Gate, rates: AccountRates, look_seconds: float) -> None:
        self._queue = queue
        self._gate = gate
        self._rates = rates
        self._look_seconds = look_seconds
        self._look_at = 0.0  # monotonic
        self._pause: acts.Pause | None = None
        self._limits: acts.Limits | None = None  # a worker before this one may have had others

    def follow_if_due(self) -> None:
        """Read and apply the pause and the limits if nothing was claimed for a while. Raises
        psycopg.Error."""
        if time.monotonic() >= self._look_at:
            self._queue.read_standing()
            self.follow()

    def follow(self) -> None:
        """Apply the pause and the limits that the queue has read."""
        self._look_at = time.monotonic() + self._look_seconds
        standing = self._queue.standing
        pause, limits = standing.pause, standing.limits
        if pause != self._pause:
            self._pause = pause
            self._gate.set_paused(is_paused=pause is not None)
            if pause:
                log.warning("gate.closed", extra={"reason": Reason.PAUSED, "error": str(pause)})
            else:
                log.info("gate.opened", extra={"reason": Reason.PAUSED})
        if limits != self._limits and self._rates.limit_creates(limits.create_rate):
            if self._limits or limits != acts.Limits():
                values = {
                    "daily_limit": standing.daily_limit,
                    "daily_budget": standing.daily_budget and f"{standing.daily_budget:f}",
                    "create_rate": limits.create_rate,
                }
                log.info("limits.changed", extra=values)
            self._limits = limits
