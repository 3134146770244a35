"""Waits for everything that can wake a worker's main loop."""

import select
import signal
import socket
from contextlib import suppress

from imagegen.queue import Listener


class Wakeup:
    """Sleeps until `ring` is called, a signal comes, a token is minted, or the time is up."""

    def __init__(self, database_url: str, application_name: str) -> None:
        self._bell, self._ringer = socket.socketpair()
        self._bell.setblocking(False)
        self._ringer.setblocking(False)
        self._listener = Listener(database_url, application_name, self.ring)
        # A signal wakes the worker too. Python runs its handler before `wait` returns.
        signal.set_wakeup_fd(self._ringer.fileno(), warn_on_full_buffer=False)

    def ring(self) -> None:
        """Wake the worker, from any thread."""
        with suppress(OSError):  # it rings already, or is closed
            self._ringer.send(b"\0")

    def close(self) -> None:
        self._listener.close()
        self._bell.close()
        self._ringer.close()

    def wait(self, seconds: float) -> bool:
        """Sleep for at most `seconds`. Return whether new tokens may have been minted."""
        if self._listener.keep_listening():
            return True  # no NOTIFY came for tokens that were minted before
        sources = [self._bell.fileno()]
        if (listener := self._listener.fileno()) is not None:
            sources.append(listener)
        # Without a listener, sleep at most until the next attempt to connect one.
        seconds = max(min(seconds, self._listener.next_try_seconds()), 0.0)
        ready, _, _ = select.select(sources, [], [], seconds)
        if self._bell.fileno() in ready:
            self._bell.recv(4096)
        if listener in ready:
            self._listener.drain()
        return listener in ready
