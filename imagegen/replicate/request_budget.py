"""The rate of all requests to Replicate but creates."""

import time
from collections.abc import Callable

from imagegen.replicate.shared_numbers import Number, SharedNumbers

# After a quiet time, the requests of this time may leave at once.
BUDGET_BURST_SECONDS = 1.0


class RequestBudget:
    """Limits the requests a second of all threads, and of all processes that share its numbers. A
    request that comes too early waits."""

    _next = Number(0)  # monotonic, which is the same clock for all processes of a host

    def __init__(
        self,
        per_second: float,
        sleep: Callable[[float], object],
        numbers: SharedNumbers | None = None,
    ) -> None:
        """`sleep` waits for the seconds given, or less when the worker stops. `numbers` is one
        number that several processes share; None: this process has a budget of its own."""
        self.numbers = numbers or SharedNumbers(1)
        self._per_second = per_second
        self._sleep = sleep

    def wait(self) -> None:
        with self.numbers.locked():  # without the lock, one request too many may leave
            now = time.monotonic()
            leave_at = max(self._next, now - BUDGET_BURST_SECONDS)
            self._next = leave_at + 1 / self._per_second
        if leave_at > now:
            self._sleep(leave_at - now)

    def hold(self, seconds: float) -> None:
        """Hold back all requests for `seconds`: the account's limit was reached."""
        with self.numbers.locked():
            self._next = max(self._next, time.monotonic() + seconds)
