"""The exporter's one connection to the database, with a limit on each wait."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import psycopg
from psycopg.rows import dict_row

from imagegen.database import (
    AWAY,
    AnswerLimit,
    Connection,
    NoAnswerError,
    NotMigratedError,
    Tables,
    connect_bounded,
    in_background,
    read_tables,
)
from imagegen.logs import log
from imagegen.text import one_line

T = TypeVar("T")
Session = tuple[Connection, Tables]

# More than the timeout of any statement here. A backend that has not answered by then never will.
ANSWER_SECONDS = 2.0
# What `DatabaseThread.ask` raises instead of an answer.
NO_ANSWER = (psycopg.Error, NotMigratedError, TimeoutError)


class DatabaseThread:
    """Asks over one connection in a thread of its own, so that no caller waits without limit.

    A statement's own timeout is not enough: a database that hangs does not answer at all. Then the
    connection is closed, and the next question gets another one.
    """

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="database")
        self._limit = AnswerLimit()
        self._attempt: Future[Session] | None = None  # to connect
        self._session: Session | None = None
        self._is_away = False

    def ask(self, question: Callable[[Connection, Tables], T], timeout_seconds: float) -> T:
        """Return the question's answer.

        Raises one of NO_ANSWER: TimeoutError if there is no answer within `timeout_seconds`.
        """
        answer = self._thread.submit(self._ask_and_report, question, timeout_seconds)
        try:
            return answer.result(timeout_seconds)
        except (TimeoutError, NoAnswerError):
            answer.cancel()  # if it waits behind another question that hangs
            raise TimeoutError(f"no answer within {timeout_seconds:g} s") from None

    def _ask_and_report(
        self, question: Callable[[Connection, Tables], T], timeout_seconds: float
    ) -> T:
        """Ask, and log once that the database is away, and once that it is back."""
        try:
            answer = self._ask(question, time.monotonic() + timeout_seconds)
        except (psycopg.errors.QueryCanceled, NotMigratedError):  # it answered
            raise
        except (*AWAY, TimeoutError) as error:
            if not self._is_away:
                self._is_away = True
                why = one_line(error) or f"no connection within {timeout_seconds:g} s"
                log.error("database.unavailable", extra={"error": why})
            raise
        if self._is_away:
            self._is_away = False
            log.info("database.available")
        return answer

    def _ask(self, question: Callable[[Connection, Tables], T], deadline: float) -> T:
        idle = self._session
        try:
            return question(*self._connect(deadline))
        except psycopg.errors.QueryCanceled:  # it took too long; the connection still works
            raise
        except NoAnswerError as error:  # perhaps only this backend hangs: another one may answer
            self._session = None
            if time.monotonic() >= deadline:
                raise
            log.warning("database.connection.replaced", extra={"error": str(error)})
        except (psycopg.Error, NotMigratedError):
            was_cut = idle is not None and idle[0].closed
            self._disconnect()  # the tables may have changed: the next question reads them again
            if not was_cut:
                raise
        return question(*self._connect(deadline))  # over a new connection

    def _connect(self, deadline: float) -> Session:
        """Return a session that waits for answers until `deadline`, by the monotonic clock.

        Raises TimeoutError if the attempt to connect is not over by then; it goes on.
        """
        if self._session is None:
            if self._attempt is None or (self._attempt.done() and self._attempt.exception()):
                self._attempt = in_background(self._open)
            self._session = self._attempt.result(max(deadline - time.monotonic(), 0.0))
            self._attempt = None
        self._limit.seconds = min(max(deadline - time.monotonic(), 0.0), ANSWER_SECONDS)
        connection, tables = self._session
        if tables.is_case_assumed:  # the first tokens may be there by now
            self._session = connection, read_tables(connection)
        return self._session

    def _open(self) -> Session:
        connection = connect_bounded(self._url, self._name, AnswerLimit())
        try:
            tables = read_tables(connection)
        except Exception:
            connection.close()
            raise
        connection.limit = self._limit
        return connection, tables

    def _disconnect(self) -> None:
        if self._session is not None:
            self._session[0].close()
            self._session = None


def read_row(connection: Connection, sql: str, timeout_milliseconds: int) -> dict[str, Any] | None:
    """Return the first row of a statement with a time limit. Raises one of database.AWAY."""
    cursor = connection.cursor(row_factory=dict_row)
    # Without parameters both are sent in one message, which is one transaction without BEGIN.
    cursor.execute(f"SET LOCAL statement_timeout = {timeout_milliseconds}; {sql}".encode())
    cursor.nextset()
    return cursor.fetchone()
