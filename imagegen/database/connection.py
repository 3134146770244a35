"""Connections to PostgreSQL, pools, and time limits."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool, PoolTimeout

from imagegen.database import brief, encoding
from imagegen.database.answers import AnswerLimit, BoundedConnection, in_background
from imagegen.text import one_line

# A statement takes a millisecond or two, so ten slots do not need ten connections.
SLOTS_CONNECTIONS = 3
# The main loop of a worker has a connection of its own, and one connection listens.
WORKER_CONNECTIONS = SLOTS_CONNECTIONS + 2
EXPORTER_CONNECTIONS = 1
# Connections that a burst has opened are closed one by one when they have been idle for this time.
IDLE_SECONDS = 10.0
NOTIFY_CHANNEL = "imagegen_detected"
# The database is away, restarts or fails over: a statement works when it is tried again later.
AWAY = (
    psycopg.OperationalError,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.IdleInTransactionSessionTimeout,
    psycopg.errors.TransactionTimeout,
)

# A half-open connection is detected after about 20 s instead of two hours.
KEEPALIVE: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}

# Statements take milliseconds, so a longer wait for a connection means that the database is away.
POOL_TIMEOUT_SECONDS = 2.0
# The pool stops its attempts to connect after this time, and tries again at the next request for a
# connection. With longer attempts its backoff grows to minutes, also when the database is back.
POOL_RECONNECT_SECONDS = 1.0

Connection = psycopg.Connection[TupleRow]
Pool = ConnectionPool[BoundedConnection]


def connect(url: str, application_name: str = "imagegen") -> Connection:
    """Return a connection in autocommit and UTC. Raises psycopg.OperationalError."""
    connection = psycopg.connect(url, **_arguments(application_name))
    encoding.read_any_bytes(connection)
    return connection


def connect_bounded(url: str, application_name: str, limit: AnswerLimit) -> BoundedConnection:
    """Return such a connection whose answers have a time limit. Raises OperationalError.

    Resolving the server's name has no limit: if that matters, call this `in_background`.
    """
    connection = BoundedConnection.connect(url, **_arguments(application_name))
    connection.limit = limit
    encoding.read_any_bytes(connection)
    return connection


def open_pool(
    url: str, max_size: int, application_name: str, limit: AnswerLimit | None = None
) -> Pool:
    """Return a pool for brief statements. It connects in the background as soon as the database
    answers. `limit` is the time limit of answers on all its connections."""

    def configure(connection: BoundedConnection) -> None:
        encoding.replace_missing_characters(connection)
        connection.limit = limit or connection.limit
        connection.is_pooled = is_pooled(connection)
        if not connection.is_pooled:
            brief.prepare_session(connection)

    return ConnectionPool(
        url,
        connection_class=BoundedConnection,
        kwargs=_arguments(application_name),
        configure=configure,
        min_size=1,
        max_idle=IDLE_SECONDS,
        max_size=max_size,
        timeout=POOL_TIMEOUT_SECONDS,
        reconnect_timeout=POOL_RECONNECT_SECONDS,
        num_workers=1,
        name=application_name,
        open=True,
    )


def why_away(url: str, error: Exception) -> str:
    """Return in one line why a statement failed, within POOL_TIMEOUT_SECONDS.

    A pool's timeout does not say why it cannot connect, so one connection is tried.
    """
    if not isinstance(error, PoolTimeout):
        return one_line(error)
    attempt = in_background(lambda: connect(url).close())
    try:
        attempt.result(POOL_TIMEOUT_SECONDS)
    except TimeoutError:
        return f"no connection within {POOL_TIMEOUT_SECONDS:g} s"
    except AWAY as reason:
        error = reason
    return one_line(error)


def _arguments(application_name: str) -> dict[str, Any]:
    # libpq sends PGTZ as the startup parameter TimeZone. Other ways fail behind PgBouncer, which
    # refuses `options` and forgets `SET`.
    os.environ["PGTZ"] = "UTC"
    return KEEPALIVE | {
        "application_name": application_name,
        "autocommit": True,
        "client_encoding": "UTF8",
        # Prepared statements do not survive a transaction pooler.
        "prepare_threshold": None,
    }


# A query of an operator must not go on in the database after its user has given up waiting.
QUERY_SECONDS = 10


@contextmanager
def statement_timeout(connection: Connection, seconds: int = QUERY_SECONDS) -> Iterator[None]:
    """Run a transaction in which each statement takes at most `seconds`, and may read many rows.

    The limit is not the session's, which PgBouncer shares with other clients.
    """
    with connection.transaction():
        connection.execute(f"{brief.PLANNED_AS_USUAL}SET LOCAL statement_timeout = '{seconds}s'")
        yield


@contextmanager
def one_round(connection: Connection, milliseconds: int) -> Iterator[None]:
    """Send the statements of the block to the server together, as one transaction in which each
    takes at most `milliseconds` and finds its rows by an index. They are there after the block."""
    settings = {"statement_timeout": str(milliseconds), "jit": "off", **brief.PLANNER}
    calls = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in settings.items())
    # Without BEGIN: psycopg would wait for its answer. All up to the end of a pipeline is one
    # transaction.
    with connection.pipeline():
        connection.execute(f"SELECT {calls}".encode())
        yield


def is_pooled(connection: Connection) -> bool:
    """Return whether the connection goes through a pooler such as PgBouncer.

    A pooler reports process ids of its own. In transaction mode it loses LISTEN.
    """
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    return row is not None and row[0] != connection.info.backend_pid
