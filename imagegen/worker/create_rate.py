"""How fast a worker creates predictions: refusals slow it down, successes speed it up.

The workers of an account settle on their parts of its limits without talking to each other, as
TCP's connections do on a line: https://www.rfc-editor.org/rfc/rfc9438 (fast back to where it was
good, slowly beyond).
"""

import time

# A little below its share, so that workers do not meet at the limit's very edge.
SHARE = 0.97
# What may leave at once, at a fast rate; at a slow one a single prediction.
BURST_SECONDS = 0.1
SLOWER = 0.5
SLOWEST_PER_SECOND = 1 / 60
# The part of the way back to the last good rate that each success makes.
BACK_PART = 0.1
# Each success raises the rate by this part, and at a slow rate, where successes are rare, by more.
RAISE_PART = 0.02
RAISE_PER_SECOND = 0.005
RAISE_MOST = 0.1
# A throttle after 20 successes means that the rate was almost right; an earlier one means that it
# was far too high.
NEARLY_RIGHT = 20
NEARLY = 0.9
# A limit with such a hint does not refill many times a second.
LONG_HINT_SECONDS = 5.0

# After each idle minute the rate doubles, up to the share: the account's limit may have changed.
IDLE_SECONDS = 60.0


class CreateRate:
    """How many predictions a second one worker may create. Not safe between threads: the gate's
    lock keeps it."""

    def __init__(self, share_per_second: float) -> None:
        self._share = share_per_second * SHARE
        self.per_second = self._share
        self._good = self._share
        self._successes = 0
        self._next = 0.0  # monotonic: when the next one may leave
        self._recovered_at = 0.0  # monotonic

    def ready(self) -> int:
        """How many may leave now."""
        self._recover()
        behind_seconds = min(time.monotonic() - self._next, BURST_SECONDS)
        return 0 if behind_seconds < 0 else 1 + int(behind_seconds * self.per_second)

    def next_seconds(self) -> float:
        """Until one may leave."""
        return max(self._next - time.monotonic(), 0.0)

    def spend(self) -> None:
        """Count one that leaves."""
        earliest = time.monotonic() - BURST_SECONDS
        self._next = max(self._next, earliest) + 1 / self.per_second

    def _recover(self) -> None:
        """Speed up after idle time: after a slow night the next burst begins at a fair rate."""
        idle_seconds = time.monotonic() - max(self._next, self._recovered_at)
        if idle_seconds >= IDLE_SECONDS and self.per_second < self._share:
            faster = 2 ** min(idle_seconds / IDLE_SECONDS, 60)
            self.per_second = min(self.per_second * faster, self._share)
            self._recovered_at = time.monotonic()

    def succeeded(self) -> None:
        """Speed up: the account's limit let one pass."""
        self._successes += 1
        interval_seconds = 1 / self.per_second
        back = max(self._good - self.per_second, 0.0) * BACK_PART
        part = min(RAISE_PART + RAISE_PER_SECOND * interval_seconds, RAISE_MOST)
        self.per_second = min(self.per_second * (1 + part) + back, self._share)

    def refused(self, hint_seconds: float) -> None:
        """Slow down: the account's limit refused one, until `hint_seconds` have passed."""
        nearly_right = self._successes >= NEARLY_RIGHT
        self._successes = 0
        refused_at, self.per_second = self.per_second, self.per_second * SLOWER
        if hint_seconds >= LONG_HINT_SECONDS:
            self.per_second = min(self.per_second, 1 / hint_seconds)
        self.per_second = max(self.per_second, SLOWEST_PER_SECOND)
        self._good = refused_at * NEARLY if nearly_right else self.per_second
        self._next = time.monotonic() + 1 / self.per_second
