"""How imagegen connects to PostgreSQL, and what the tables look like that it found there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from string import Template
from typing import Any

import psycopg
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool, PoolTimeout

from imagegen import encoding

# In the order of a token's life.
STATUSES = ("detected", "generating", "uploading", "failed")
VERSION_TABLE = "imagegen_alembic_version"
NOTIFY_CHANNEL = "imagegen_detected"
# The database is away, restarts or fails over: all of these pass.
AWAY = (
    psycopg.OperationalError,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.IdleInTransactionSessionTimeout,
    psycopg.errors.TransactionTimeout,
)

# A half-open connection is noticed in about 20 s instead of two hours.
KEEPALIVE: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}

# Statements take milliseconds: who waits so long for a connection waits for the database.
POOL_TIMEOUT_SECONDS = 2.0
# Then the pool gives up, and tries anew when it is next asked: at once when the database is back,
# not at the end of a backoff that has grown to minutes.
POOL_RECONNECT_SECONDS = 1.0

Connection = psycopg.Connection[TupleRow]
Pool = ConnectionPool[Connection]


class NotMigratedError(Exception):
    """The database lacks what imagegen needs; the message says what to run."""


def connect(url: str, application_name: str = "imagegen") -> Connection:
    """A connection in autocommit, its session in UTC. Raises psycopg.OperationalError."""
    return psycopg.connect(url, **_arguments(application_name))


def open_pool(url: str, max_size: int, application_name: str) -> Pool:
    """A pool that connects by itself, in the background, whenever the database is there."""
    return ConnectionPool(
        url,
        kwargs=_arguments(application_name),
        configure=encoding.write_any,
        min_size=1,
        max_size=max_size,
        timeout=POOL_TIMEOUT_SECONDS,
        reconnect_timeout=POOL_RECONNECT_SECONDS,
        num_workers=1,
        name=application_name,
        open=True,
    )


def why_away(url: str, error: Exception) -> str:
    """In one line, why a statement failed; a pool's timeout does not tell, so that is tried."""
    if isinstance(error, PoolTimeout):
        try:
            connect(url).close()
        except AWAY as reason:
            error = reason
    return " ".join(str(error).split())


def _arguments(application_name: str) -> dict[str, Any]:
    # libpq sends the session's time zone as a startup parameter when PGTZ is set: the one way
    # that works behind PgBouncer too, which refuses `options` and forgets `SET`.
    os.environ["PGTZ"] = "UTC"
    return KEEPALIVE | {
        "application_name": application_name,
        "autocommit": True,
        "client_encoding": "UTF8",
        # Prepared statements do not survive a transaction pooler.
        "prepare_threshold": None,
    }


def newest_revision() -> str:
    """The revision that this imagegen needs: migrations are numbered in their file names."""
    names = [path.name for path in files("imagegen.db.versions").iterdir()]
    return max(name.partition("_")[0] for name in names if name[:4].isdigit())


def current_revision(connection: Connection) -> str | None:
    """The database's revision, or None where imagegen was never there."""
    query = "SELECT to_regclass(%s) IS NOT NULL"
    (there,) = connection.execute(query, [VERSION_TABLE]).fetchone() or (False,)
    if not there:
        return None
    row = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()
    return str(row[0]) if row else None


def check_revision(connection: Connection) -> str:
    """The database's revision, which is the one needed. Raises NotMigratedError."""
    revision, needed = current_revision(connection), newest_revision()
    if revision is None:
        raise NotMigratedError("the database is not migrated: run `imagegen db upgrade`")
    if revision != needed:
        mend = "run `imagegen db upgrade`"
        if revision > needed:  # which this imagegen can take neither up nor down
            mend = "install the imagegen that it belongs to"
        raise NotMigratedError(
            f"the database is at revision {revision}, imagegen needs {needed}: {mend}"
        )
    return revision


@dataclass(frozen=True)
class Tables:
    """The user's tables as they are: imagegen runs on enums and text, aware and naive times.

    `labels` holds the SQL literal of each status: a parameter would lose the partial index.
    """

    labels: dict[str, str]
    created_at_is_naive: bool

    @property
    def minted_at(self) -> str:
        """SQL for the time of the mint, as timestamptz."""
        return "t.created_at AT TIME ZONE 'UTC'" if self.created_at_is_naive else "t.created_at"

    @property
    def waited_seconds(self) -> str:
        """SQL for the seconds since the mint; 0 where that has no time, so that one odd row of
        an adopted table keeps no other token waiting."""
        return f"""CASE WHEN isfinite(t.created_at)
                THEN extract(epoch FROM now() - {self.minted_at})::float ELSE 0 END"""

    def fill(self, sql: str, **more: object) -> str:
        """SQL with these tables' own words: $detected and the other statuses, $minted_at."""
        return Template(sql).substitute(self.labels, minted_at=self.minted_at, **more)


def read_tables(connection: Connection) -> Tables:
    """Look at `tokens_s0` once. Raises NotMigratedError where it cannot serve."""
    columns: dict[str, str] = dict(
        connection.execute(
            """SELECT attname, format_type(atttypid, NULL) FROM pg_attribute
               WHERE attrelid = to_regclass('tokens_s0') AND attnum > 0 AND NOT attisdropped"""
        ).fetchall()
    )
    if "status" not in columns or "created_at" not in columns:
        raise NotMigratedError("the database has no table tokens_s0: run `imagegen db upgrade`")
    enum_labels = [
        label
        for (label,) in connection.execute(
            """SELECT enumlabel FROM pg_enum JOIN pg_attribute ON atttypid = enumtypid
               WHERE attrelid = to_regclass('tokens_s0') AND attname = 'status'"""
        )
    ]
    return Tables(
        labels=_literals(columns["status"], enum_labels),
        created_at_is_naive=columns["created_at"] == "timestamp without time zone",
    )


def _literals(column_type: str, enum_labels: list[str]) -> dict[str, str]:
    if not enum_labels:
        return {status: f"'{status}'::{column_type}" for status in STATUSES}
    by_name = {label.lower(): label for label in enum_labels}
    if missing := [status for status in STATUSES if status not in by_name]:
        raise NotMigratedError(
            f"tokens_s0.status, of type {column_type}, lacks {', '.join(missing)}"
        )
    return {status: f"'{by_name[status]}'::{column_type}" for status in STATUSES}


# A question of an operator shall not load the database for longer than anybody waits for it.
QUESTION_SECONDS = 10


@contextmanager
def bounded(connection: Connection, seconds: int = QUESTION_SECONDS) -> Iterator[None]:
    """Statements that end in time. The limit is the transaction's own, because a session behind
    PgBouncer belongs to others as well."""
    with connection.transaction():
        connection.execute(f"SET LOCAL statement_timeout = '{seconds}s'")
        yield


def is_pooled(connection: Connection) -> bool:
    """Whether a pooler such as PgBouncer stands between: it hands out process ids of its own, and
    in transaction mode it loses LISTEN after the statement."""
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    return row is not None and row[0] != connection.info.backend_pid
