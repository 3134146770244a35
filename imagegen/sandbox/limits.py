"""The rate limit on creating predictions."""

import math
import threading
import time


class CreateLimit:
    """A bucket of `burst` creates that refills by `per_minute`."""

    def __init__(self, per_minute: int, burst: int) -> None:
        self.per_minute = per_minute
        self.burst = burst
        self._left = float(burst)
        self._filled_at = time.monotonic()
        self._lock = threading.Lock()

    def seconds_to_wait(self) -> int:
        """Take one create out of the bucket, or tell in how many seconds there will be one."""
        per_second = self.per_minute / 60
        with self._lock:
            now = time.monotonic()
            self._left = min(self.burst, self._left + (now - self._filled_at) * per_second)
            self._filled_at = now
            if self._left >= 1:
                self._left -= 1
                return 0
            return math.ceil((1 - self._left) / per_second)
