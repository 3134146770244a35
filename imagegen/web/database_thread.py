"""The exporter's one connection to the database, with a limit on each wait."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import psycopg
from psycopg.rows import dict_row

from imagegen.database import AWAY, Connection, NotMigratedError, Tables, connect, read_tables

T = TypeVar("T")

# What `DatabaseThread.ask` raises instead of an answer.
NO_ANSWER = (psycopg.Error, NotMigratedError, TimeoutError)


class DatabaseThread:
    """Asks over one connection in a thread of its own, so that no caller waits without limit.

    A statement's own timeout is not enough: a database that hangs does not answer at all.
    """

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="database")
        self._session: tuple[Connection, Tables] | None = None

    def ask(self, question: Callable[[Connection, Tables], T], timeout_seconds: float) -> T:
        """Return the question's answer. Raises one of NO_ANSWER.

        It is a TimeoutError if there is none within `timeout_seconds`.
        """
        answer = self._thread.submit(self._ask, question)
        try:
            return answer.result(timeout_seconds)
        except TimeoutError:
            answer.cancel()  # if it waits behind another question that hangs
            raise TimeoutError(f"no answer within {timeout_seconds:g} s") from None

    def _ask(self, question: Callable[[Connection, Tables], T]) -> T:
        idle = self._session
        try:
            return question(*self._connect())
        except psycopg.errors.QueryCanceled:  # it took too long; the connection still works
            raise
        except (*AWAY, NotMigratedError):
            self._session = None
            if idle is None or not idle[0].closed:
                raise
        return question(*self._connect())  # the server had closed the idle connection

    def _connect(self) -> tuple[Connection, Tables]:
        if self._session is None:
            connection = connect(self._url, self._name)
            self._session = connection, read_tables(connection)
        return self._session


def read_row(connection: Connection, sql: str, timeout_milliseconds: int) -> dict[str, Any] | None:
    """Return the first row of a statement with a time limit. Raises one of database.AWAY."""
    cursor = connection.cursor(row_factory=dict_row)
    # Without parameters both are sent in one message, which is one transaction without BEGIN.
    cursor.execute(f"SET LOCAL statement_timeout = {timeout_milliseconds}; {sql}".encode())
    cursor.nextset()
    return cursor.fetchone()
