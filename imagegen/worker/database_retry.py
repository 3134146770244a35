"""How a worker and its slots wait for the database."""

import threading
from collections.abc import Callable
from typing import TypeVar

from imagegen.database import AWAY, TablesAwayError, why_away
from imagegen.logs import log
from imagegen.metrics import definitions as metrics

DATABASE_AGAIN_SECONDS = 0.5
# A statement takes milliseconds; a commit on a disk that is busy takes seconds.
SHORTEST_ANSWER_SECONDS, LONGEST_ANSWER_SECONDS = 3.0, 10.0
# For the last statements of a worker that stops: less than the supervisor adds to the grace.
STOPPING_ANSWER_SECONDS = 2.0

T = TypeVar("T")


class LostLeaseError(Exception):
    """Another worker holds the generation: drop the work, touch nothing (law 4)."""


class ShutdownError(Exception):
    """The worker shuts down; the worker that adopts the generation goes on with it."""


def answer_seconds(lease_seconds: float) -> float:
    """Return how long a worker waits for an answer of the database: less than a lease, if it can,
    so that the lease can be renewed over another connection."""
    return max(min(lease_seconds * 2 / 3, LONGEST_ANSWER_SECONDS), SHORTEST_ANSWER_SECONDS)


class DatabaseReport:
    """Reports once, in the log and a metric, that a worker's main loop waits for the database."""

    def __init__(self, role: str, url: str) -> None:
        self._url = url
        self._gauge = metrics.DATABASE_AWAY.labels(role)
        self._missing = ""  # of the tables, as it was reported last
        self.is_away = False

    def report_away(self, error: Exception) -> None:
        missing = str(error) if isinstance(error, TablesAwayError) else self._missing
        if not self.is_away or missing != self._missing:
            self.is_away, self._missing = True, missing
            self._gauge.set(1)
            log.error("database.unavailable", extra={"error": why_away(self._url, error)})

    def report_back(self) -> None:
        if self.is_away:
            self.is_away = False
            self._gauge.set(0)
            log.info("database.available")


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
        """Return the result of a statement. It is tried again until the database answers and no
        other transaction has locked its rows. Raises ShutdownError."""
        while True:
            try:
                return statement()
            except AWAY as error:
                log.debug("database.waiting", extra={"error": str(error)})
            self._on_wait()
            self.sleep(DATABASE_AGAIN_SECONDS)

    def fenced(self, write: Callable[[], T | None]) -> T:
        """Return the result of a fenced write, tried as in `until_available`. Raises LostLeaseError
        if it found no row, and ShutdownError."""
        result = self.until_available(write)
        if result is None:
            raise LostLeaseError
        return result
