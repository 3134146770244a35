"""The signals of a process, in order."""

import select
import signal
import socket
from collections import deque
from collections.abc import Iterable
from types import FrameType


class Signals:
    """The signals of this process, taken one after the other where it waits for them."""

    def __init__(self, signals: Iterable[signal.Signals]) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        # The socket only wakes: it may be full, and what came in then would be lost with it.
        self._noted: deque[signal.Signals] = deque()
        for number in signals:
            signal.signal(number, self._note)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)

    def wait(self, seconds: float | None) -> list[signal.Signals]:
        """What has come in, after waiting for it at most so long (None: as long as it takes)."""
        ready, _, _ = select.select([self._reader], [], [], seconds)
        if ready:
            self._reader.recv(4096)
        return [self._noted.popleft() for _ in range(len(self._noted))]

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._noted.append(signal.Signals(number))
