"""The LISTEN connection of a worker."""

import math
import time
from collections.abc import Callable
from concurrent.futures import Future

import psycopg

from imagegen.database import (
    AWAY,
    NOTIFY_CHANNEL,
    AnswerLimit,
    Connection,
    connect_bounded,
    in_background,
    is_pooled,
)
from imagegen.logs import log

# How soon a lost LISTEN connection is rebuilt; polling covers the gap.
LISTEN_AGAIN_SECONDS = 5.0


class Listener:
    """A connection that is notified of new tokens. Optional: without it the worker polls.

    It connects in a thread of its own, since a name server or a database may not answer.
    """

    def __init__(
        self, database_url: str, application_name: str, on_connect: Callable[[], None]
    ) -> None:
        """`on_connect` is called in that thread when it has connected or failed: then call
        `keep_listening`."""
        self._database_url = database_url
        self._application_name = application_name
        self._on_connect = on_connect
        self._attempt: Future[Connection | None] | None = None
        self._connection: Connection | None = None
        self._next_try = 0.0  # monotonic

    def fileno(self) -> int | None:
        return self._connection.fileno() if self._connection else None

    def next_try_seconds(self) -> float:
        """Return the seconds until the next attempt to connect; infinity during one, and while
        there is a connection."""
        is_due = self._connection is None and self._attempt is None
        return self._next_try - time.monotonic() if is_due else math.inf

    def keep_listening(self) -> bool:
        """Start to connect if there is no connection, at most every few seconds, without waiting.
        Return whether it listens since the last call."""
        if self._attempt is not None:
            return self._attempt.done() and self._take(self._attempt)
        if self._connection is None and time.monotonic() >= self._next_try:
            self._next_try = time.monotonic() + LISTEN_AGAIN_SECONDS
            self._attempt = in_background(self._listen)
            self._attempt.add_done_callback(lambda _: self._on_connect())
        return False

    def _listen(self) -> Connection | None:
        """Return a connection that listens; None behind a pooler. Raises one of AWAY."""
        name = self._application_name
        connection = connect_bounded(self._database_url, name, AnswerLimit())
        try:
            if is_pooled(connection):
                connection.close()
                return None
            connection.execute(f"LISTEN {NOTIFY_CHANNEL}")
        except AWAY:
            connection.close()
            raise
        return connection

    def _take(self, attempt: "Future[Connection | None]") -> bool:
        self._attempt = None
        try:
            self._connection = attempt.result()
        except AWAY as error:
            log.debug("listener.unavailable", extra={"error": str(error)})
            return False
        if self._connection is None:
            log.info("listener.impossible", extra={"error": "a connection pooler; polling"})
            self._next_try = math.inf
        return self._connection is not None

    def drain(self) -> None:
        """Read and drop all notifications: they have woken the worker."""
        assert self._connection is not None  # noqa: S101 (its descriptor was ready)
        try:
            for _ in self._connection.notifies(timeout=0):
                pass
        except psycopg.OperationalError as error:
            log.debug("listener.lost", extra={"error": str(error)})
            self.close()

    def close(self) -> None:
        if self._attempt is not None:
            self._attempt.add_done_callback(_close_late)
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _close_late(attempt: "Future[Connection | None]") -> None:
    if attempt.exception() is None and (connection := attempt.result()):
        connection.close()
