"""Ctrl-C and SIGTERM for a program that starts servers: they must leave nothing behind."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Notes them at once, and raises KeyboardInterrupt, once, only within `delivered()`.

    An exception between a fork and the line that remembers its child, or in the middle of a
    clean-up, would leave the child or a folder behind, however often a key is pressed.
    """

    def __init__(self) -> None:
        self._came = False
        self._may_raise = False
        for number in SIGNALS:
            # Set, because a shell starts background jobs with Ctrl-C ignored.
            signal.signal(number, self._note)

    @contextmanager
    def delivered(self) -> Iterator[None]:
        """Raise KeyboardInterrupt for a signal that came before, or for the first that comes."""
        self._may_raise = True
        try:
            if self._came:
                self._interrupt()
            yield
        finally:
            self._may_raise = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._came = True
        if self._may_raise:
            self._interrupt()

    def _interrupt(self) -> None:
        # The program ends now. Later signals are ignored, also while Python itself ends.
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt
