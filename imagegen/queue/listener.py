"""The LISTEN connection of a worker."""

import math
import time

import psycopg

from imagegen.database import AWAY, NOTIFY_CHANNEL, Connection, connect, is_pooled
from imagegen.logs import log

# How soon a lost LISTEN connection is rebuilt; polling covers the gap.
LISTEN_AGAIN_SECONDS = 5.0


class Listener:
    """A connection that is notified of new tokens. Optional: without it the worker polls."""

    def __init__(self, database_url: str, application_name: str) -> None:
        self._database_url = database_url
        self._application_name = application_name
        self._connection: Connection | None = None
        self._next_try = 0.0  # monotonic

    def fileno(self) -> int | None:
        return self._connection.fileno() if self._connection else None

    def next_try_seconds(self) -> float:
        """Return the time until it should be connected again; infinite while it is."""
        return self._next_try - time.monotonic() if self._connection is None else math.inf

    def keep_listening(self) -> bool:
        """Connect if there is no connection, at most every few seconds. Returns whether it has
        just begun to listen."""
        if self._connection is not None or time.monotonic() < self._next_try:
            return False
        self._next_try = time.monotonic() + LISTEN_AGAIN_SECONDS
        try:
            self._connection = connect(self._database_url, self._application_name)
            if is_pooled(self._connection):
                log.info("listener.impossible", extra={"error": "a connection pooler; polling"})
                self._next_try = math.inf
                self.close()
            else:
                self._connection.execute(f"LISTEN {NOTIFY_CHANNEL}")
        except AWAY as error:
            log.debug("listener.unavailable", extra={"error": str(error)})
            self.close()
        return self._connection is not None

    def drain(self) -> None:
        """Read all notifications: that one came is all that matters."""
        assert self._connection is not None  # noqa: S101 (its descriptor was ready)
        try:
            for _ in self._connection.notifies(timeout=0):
                pass
        except psycopg.OperationalError as error:
            log.debug("listener.lost", extra={"error": str(error)})
            self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
