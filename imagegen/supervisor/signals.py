"""The signals of this process, in the order in which they came."""

import select
import signal
import socket
from collections import deque
from collections.abc import Iterable
from types import FrameType


class Signals:
    """Collects the signals of this process until `wait` returns them."""

    def __init__(self, signals: Iterable[signal.Signals]) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        # The socket only wakes `wait`. The signals are kept here, because the socket may be full.
        self._received: deque[signal.Signals] = deque()
        for number in signals:
            signal.signal(number, self._receive)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)

    def wait(self, seconds: float | None) -> list[signal.Signals]:
        """Return the signals received, after waiting for one at most `seconds` (None: for ever)."""
        ready, _, _ = select.select([self._reader], [], [], seconds)
        if ready:
            self._reader.recv(4096)
        return [self._received.popleft() for _ in range(len(self._received))]

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._received.append(signal.Signals(number))
