"""How many requests a second may leave, creates apart."""

import threading
import time
from collections.abc import Callable

# How many seconds' worth of other requests may leave at once.
BUDGET_BURST_SECONDS = 1.0


class RequestBudget:
    """How many requests a second may leave, from any thread; who comes too early waits."""

    def __init__(self, per_second: float, pause: Callable[[float], object]) -> None:
        """`pause` waits so many seconds, or less when the worker stops."""
        self._per_second = per_second
        self._pause = pause
        self._lock = threading.Lock()
        self._next = 0.0  # monotonic

    def wait_for_turn(self) -> None:
        with self._lock:
            now = time.monotonic()
            turn = max(self._next, now - BUDGET_BURST_SECONDS)
            self._next = turn + 1 / self._per_second
        if turn > now:
            self._pause(turn - now)

    def hold(self, seconds: float) -> None:
        """Nothing leaves for so long: the account's limit was reached."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)
