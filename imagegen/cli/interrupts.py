"""Handles Ctrl-C and SIGTERM.

A command that starts servers must leave none running, and a command that is the first process of a
container must end at SIGTERM.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def end_at_sigterm_in_a_container() -> None:
    """Let SIGTERM end process 1 as Ctrl-C does, until a command handles it itself.

    For process 1 the kernel ignores a signal without a handler, so a command that waits for a
    database would go on until SIGKILL.
    """
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, signal.default_int_handler)


class Interrupts:
    """Records signals, and raises KeyboardInterrupt, once, only within `delivered()`.

    An exception between a fork and the line that stores its child, or in the middle of a clean-up,
    would leave the child running or a folder on disk.
    """

    def __init__(self) -> None:
        self._pending = False
        self._may_raise = False
        for number in SIGNALS:
            # Also SIGINT: a shell starts background jobs with it ignored.
            signal.signal(number, self._record)

    @contextmanager
    def delivered(self) -> Iterator[None]:
        """Raise KeyboardInterrupt for a signal received earlier, or for the first one now."""
        self._may_raise = True
        try:
            if self._pending:
                self._interrupt()
            yield
        finally:
            self._may_raise = False

    def _record(self, number: int, frame: FrameType | None) -> None:
        self._pending = True
        if self._may_raise:
            self._interrupt()

    def _interrupt(self) -> None:
        # The program ends now. Later signals are ignored, also while the interpreter exits.
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt
