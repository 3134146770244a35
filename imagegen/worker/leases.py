"""Renews the leases of one worker, and ends the leases of dead processes."""

import time
from collections.abc import Collection

from imagegen.queue import Queue
from imagegen.worker.process_names import is_dead

# A third of the lease: two renewals may fail before it runs out.
RENEWALS_PER_LEASE = 3


class Leases:
    """Each method raises psycopg.Error."""

    def __init__(self, queue: Queue, lease_seconds: float) -> None:
        self._queue = queue
        self._interval_seconds = lease_seconds / RENEWALS_PER_LEASE
        self._renew_at = 0.0  # monotonic

    def release_those_of_dead(self, predecessor: str | None) -> None:
        """End the leases of dead processes: `predecessor` and those before it in the same role, and
        any on this host, such as the workers of a killed supervisor."""
        if predecessor is not None:
            self._queue.release_leases_of(predecessor)
        if dead := [name for name in self._queue.holders() if is_dead(name)]:
            self._queue.release_leases_of_dead(dead)

    def renew_if_due(self, token_ids: Collection[int]) -> None:
        """Renew the leases of these tokens' open generations, if it is time."""
        if self.next_seconds() <= 0:
            self._queue.renew(token_ids)
            self._renew_at = time.monotonic() + self._interval_seconds

    def next_seconds(self) -> float:
        """Return the seconds until the next renewal; negative if it is overdue."""
        return self._renew_at - time.monotonic()
