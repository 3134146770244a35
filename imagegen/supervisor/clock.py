"""The clock of the supervisor, which does not count the time in which the supervisor is frozen."""

import time

# A process that wakes later than this was frozen. On a busy machine it is late by less.
LATE_SECONDS = 0.5


class AwakeClock:
    """Counts the time in which this process could watch its children, in seconds.

    A virtual machine or a process group may be frozen, and the supervisor may go on before its
    children do. On a monotonic clock they would all have been silent for as long as the freeze.
    """

    def __init__(self) -> None:
        self.now = self._read_at = time.monotonic()

    def advance(self, meant_seconds: float) -> None:
        """Add the time since the last call, in which a sleep of `meant_seconds` was allowed.

        A freeze counts as at most `LATE_SECONDS`. If it did not count, the clock would never go on
        where the process always wakes late.
        """
        read_at = time.monotonic()
        seconds = read_at - self._read_at
        if seconds > meant_seconds + LATE_SECONDS:
            seconds = min(meant_seconds, LATE_SECONDS)
        self.now += seconds
        self._read_at = read_at
