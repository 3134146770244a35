"""The rate of all requests to Replicate but creates."""

import threading
import time
from collections.abc import Callable

# Requests of this time that were not sent may leave at once.
BUDGET_BURST_SECONDS = 1.0


class RequestBudget:
    """Limits the requests a second of all threads: one that comes too early waits."""

    def __init__(self, per_second: float, sleep: Callable[[float], object]) -> None:
        """`sleep` waits for the seconds given, or less when the worker stops."""
        self._per_second = per_second
        self._sleep = sleep
        self._lock = threading.Lock()
        self._next = 0.0  # monotonic

    def wait(self) -> None:
        with self._lock:
            now = time.monotonic()
            leave_at = max(self._next, now - BUDGET_BURST_SECONDS)
            self._next = leave_at + 1 / self._per_second
        if leave_at > now:
            self._sleep(leave_at - now)

    def hold(self, seconds: float) -> None:
        """Let nothing leave for `seconds`: the account's limit was reached."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)
