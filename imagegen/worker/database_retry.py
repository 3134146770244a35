"""How the work on a token waits for the database, until its worker shuts down."""

import threading
from collections.abc import Callable
from typing import TypeVar

from imagegen.database import AWAY
from imagegen.logs import log

DATABASE_AGAIN_SECONDS = 0.5

T = TypeVar("T")


class LostLeaseError(Exception):
    """Another worker holds the generation: drop the work, touch nothing (law 4)."""


class ShutdownError(Exception):
    """The worker shuts down; the worker that adopts the generation goes on with it."""


class DatabaseRetry:
    """Retries statements of one worker's slots, and ends their sleep when it shuts down."""

    def __init__(
        self, shutdown: threading.Event, on_wait: Callable[[], None] = lambda: None
    ) -> None:
        """`on_wait` is called, in a slot's thread, each time that it waits for the database."""
        self._shutdown = shutdown
        self._on_wait = on_wait

    def sleep(self, seconds: float) -> None:
        """Sleep for that time. Raises ShutdownError."""
        if self._shutdown.wait(seconds):
            raise ShutdownError

    def until_available(self, statement: Callable[[], T]) -> T:
        """Return what a statement brings, as soon as the database answers and nobody has locked its
        rows. Raises ShutdownError."""
        while True:
            try:
                return statement()
            except AWAY as error:
                log.debug("database.waiting", extra={"error": str(error)})
            self._on_wait()
            self.sleep(DATABASE_AGAIN_SECONDS)

    def fenced(self, write: Callable[[], T | None]) -> T:
        """Return what a fenced write brings. Raises LostLeaseError if it brings nothing, and
        ShutdownError."""
        result = self.until_available(write)
        if result is None:
            raise LostLeaseError
        return result
