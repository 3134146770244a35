"""The time of the latest round of the supervisor's loop, for its children to read."""

import mmap
import struct
import time

MONOTONIC_SECONDS = struct.Struct("d")


class Pulse:
    """A time in memory that the supervisor shares with its forks.

    The supervisor watches its children, and the exporter watches the supervisor by this time.
    Shared memory needs no thread, no file and no connection.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, MONOTONIC_SECONDS.size)
        self.beat()

    def beat(self) -> None:
        """Record that the loop goes on. Called by the supervisor in each round."""
        MONOTONIC_SECONDS.pack_into(self._memory, 0, time.monotonic())

    def silent_seconds(self) -> float:
        """Return the time since the last beat; callable in any fork."""
        (beat_at,) = MONOTONIC_SECONDS.unpack_from(self._memory)
        return max(time.monotonic() - float(beat_at), 0.0)
