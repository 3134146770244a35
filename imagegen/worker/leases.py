"""The leases of one worker: taken over from the dead, renewed, and handed over at the end."""

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
        """End the leases of processes that died before they could: those before this one in its
        role, and those of this host, such as a killed supervisor's workers."""
        if predecessor is not None:
            self._queue.release_leases_of(predecessor)
        if dead := [name for name in self._queue.holders() if is_dead(name)]:
            self._queue.release_leases_of_dead(dead)

    def renew_if_due(self, token_ids: Collection[int]) -> None:
        """Hold the open generations of these tokens for another lease."""
        if self.next_seconds() <= 0:
            self._queue.renew(token_ids)
            self._renew_at = time.monotonic() + self._interval_seconds

    def next_seconds(self) -> float:
        """Return when they are due; negative if they are."""
        return self._renew_at - time.monotonic()
