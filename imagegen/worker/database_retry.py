"""How the work on a token waits: for the database, for a row that somebody holds, for a moment, and
never after its worker has begun to hand over."""

import threading
from collections.abc import Callable
from typing import TypeVar

from imagegen.database import AWAY
from imagegen.logs import log

DATABASE_AGAIN_SECONDS = 0.5

T = TypeVar("T")


class LostLeaseError(Exception):
    """Another worker holds the generation: drop the work, touch nothing (law 4)."""


class HandingOverError(Exception):
    """The worker stops; whoever adopts the generation goes on with it."""


class Patience:
    """The waiting of one worker's slots."""

    def __init__(
        self, handing_over: threading.Event, waits: Callable[[], None] = lambda: None
    ) -> None:
        """`waits` is told, in a slot's thread, each time that it waits for the database."""
        self._handing_over = handing_over
        self._waits = waits

    def pause(self, seconds: float) -> None:
        """Wait so long. Raises HandingOverError."""
        if self._handing_over.wait(seconds):
            raise HandingOverError

    def with_database(self, statement: Callable[[], T]) -> T:
        """Carry out a statement, as soon as the database is there and nobody holds its rows.
        Raises HandingOverError."""
        while True:
            try:
                return statement()
            except AWAY as error:
                log.debug("database.waiting", extra={"error": str(error)})
            self._waits()
            self.pause(DATABASE_AGAIN_SECONDS)

    def held(self, write: Callable[[], T | None]) -> T:
        """The result of a fenced write. Raises LostLeaseError where it has none, and
        HandingOverError."""
        result = self.with_database(write)
        if result is None:
            raise LostLeaseError
        return result
