"""The clock of the supervisor, which stands still while the supervisor does."""

import time

# The process stood still if it woke later than this. On a busy machine it is late by less.
LATE_SECONDS = 0.5


class AwakeClock:
    """Counts the time in which this process could watch its children, in seconds.

    A virtual machine or a process group may be frozen, and the supervisor may go on before its
    children do. On a monotonic clock they would all have been silent for as long as the freeze.
    """

    def __init__(self) -> None:
        self.now = self._read_at = time.monotonic()

    def advance(self, meant_seconds: float) -> None:
        """Add the time since the last call, in which the process meant to sleep so long at most.

        A freeze counts as `LATE_SECONDS` at most: with nothing, a machine on which the process is
        always late would never come to what is due.
        """
        read_at = time.monotonic()
        seconds = read_at - self._read_at
        if seconds > meant_seconds + LATE_SECONDS:
            seconds = min(meant_seconds, LATE_SECONDS)
        self.now += seconds
        self._read_at = read_at
