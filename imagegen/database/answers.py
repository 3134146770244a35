"""Connections with a time limit for each answer, for a database that accepts and never answers.

A server may be stopped, a commit may wait for a standby, a proxy may pass nothing on. Keepalives do
not notice it, because the other host's kernel still acknowledges the packets.
"""

import select
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from psycopg import adapt, capabilities
from psycopg.abc import Transformer
from psycopg.adapt import PyFormat
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGresult
from psycopg.rows import TupleRow

# The time between two looks of a wait at its limit.
LOOK_SECONDS = 0.1
# The longest attempt to cancel a statement at the server after its answer took too long.
CANCEL_SECONDS = 1.0

T = TypeVar("T")


class NoAnswerError(psycopg.OperationalError):
    """The database did not answer in time. The statement may be committed, now or later."""


@dataclass
class AnswerLimit:
    """How long a connection waits for one answer. It may be changed, also during a wait."""

    seconds: float = 10.0
    on_wait: Callable[[], None] = lambda: None  # called ten times a second during a wait


class BoundedConnection(psycopg.Connection[TupleRow]):
    """A connection that is closed when an answer takes too long; then it raises NoAnswerError."""

    limit = AnswerLimit()
    is_pooled = True  # another client may have the next transaction of the session

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.prepared: set[str] = set()  # names of statements, if it is not pooled

    def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
        """Run one exchange with the server; psycopg calls this for each."""
        try:
            return super().wait(self._bounded(gen), *args, **options)
        except NoAnswerError:
            self._give_up()
            raise

    def _bounded(self, exchange: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        """Run psycopg's generator of an exchange; raise NoAnswerError when it takes too long.

        psycopg resumes this whenever the socket is ready, and otherwise ten times a second.
        """
        began = time.monotonic()
        try:
            event = next(exchange)
            while True:
                ready = yield event
                if not ready:
                    self.limit.on_wait()
                event = exchange.send(ready)
                if time.monotonic() - began > self.limit.seconds:
                    raise NoAnswerError(f"no answer within {self.limit.seconds:g} s")
        except StopIteration as end:
            answer: T = end.value
            return answer

    def execute_prepared(
        self, calls: Sequence[tuple[str, Sequence[object]]]
    ) -> list[list[dict[str, Any]]]:
        """Execute prepared statements, each with its parameters, in one round trip, which is one
        transaction. Returns the rows of each.

        It does without psycopg's cursors, which take longer than everything else in a call.
        """
        transformer = adapt.Transformer.from_context(self)
        dumped = [
            (name.encode(), transformer.dump_sequence(values, [PyFormat.TEXT] * len(values)))
            for name, values in calls
        ]
        is_pipeline = len(calls) > 1
        try:
            if is_pipeline:
                self.pgconn.enter_pipeline_mode()
            for name, values in dumped:
                self.pgconn.send_query_prepared(name, values)
            if is_pipeline:
                self.pgconn.pipeline_sync()
            results = self._results(ExecStatus.PIPELINE_SYNC if is_pipeline else None)
        except NoAnswerError:
            self._give_up()
            raise
        if is_pipeline and self.pgconn.status == ConnStatus.OK:
            self.pgconn.exit_pipeline_mode()
        for result in results:
            if result.status == ExecStatus.FATAL_ERROR:
                raise psycopg.errors.error_from_result(result, self.info.encoding)
        return [_rows(transformer, result) for result in results]

    def _results(self, last: ExecStatus | None) -> list[PGresult]:
        """Return all results, up to the one with the status `last` if it is given."""
        poll, began, results = select.poll(), time.monotonic(), []
        while True:
            self._wait_for_result(poll, began)
            result = self.pgconn.get_result()
            if result is not None and result.status != last:
                results.append(result)
            elif result is not None or last is None or self.pgconn.status != ConnStatus.OK:
                return results

    def _wait_for_result(self, poll: "select.poll", began: float) -> None:
        while (unsent := self.pgconn.flush()) or self.pgconn.is_busy():
            poll.register(self.pgconn.socket, select.POLLIN | (select.POLLOUT if unsent else 0))
            if poll.poll(LOOK_SECONDS * 1000):
                self.pgconn.consume_input()
            else:
                self.limit.on_wait()
            if time.monotonic() - began > self.limit.seconds:
                raise NoAnswerError(f"no answer within {self.limit.seconds:g} s")

    def _give_up(self) -> None:
        """Cancel the statement, and close the connection. The server notices a closed connection
        only when the statement ends: sessions that wait for a standby would use up all of them."""
        try:
            if capabilities.has_cancel_safe():  # else it may wait for ever itself
                self.cancel_safe(timeout=CANCEL_SECONDS)
        except psycopg.Error:
            pass  # the server does not answer at all
        finally:
            self.close()


def _rows(transformer: Transformer, result: PGresult) -> list[dict[str, Any]]:
    transformer.set_pgresult(result)
    names = [(result.fname(column) or b"").decode() for column in range(result.nfields)]
    rows = transformer.load_rows(0, result.ntuples, tuple)
    return [dict(zip(names, row, strict=True)) for row in rows]


def in_background(call: Callable[[], T]) -> "Future[T]":
    """Run `call` in a thread of its own, and return its future. The process can end before it.

    For calls without a time limit: psycopg resolves the server's name in the thread that connects.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 (it is the future's)
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future
