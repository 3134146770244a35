"""Changes the database's schema by alembic's migrations, with errors in one line."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, TypeVar

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, NullPool, create_engine
from sqlalchemy.exc import DBAPIError

from imagegen import database
from imagegen.database import preflight, schema
from imagegen.database.schema import OWNERSHIP_COMMENT
from imagegen.errors import ImagegenError
from imagegen.text import plural

# Every mint waits behind a migration that waits for a lock. It gives up sooner than PostgreSQL
# looks for a deadlock (deadlock_timeout, 1 s), which might end a mint, and tries again.
LOCK_TIMEOUT_MILLISECONDS = 400
LOCK_PAUSE_SECONDS = 0.2
GIVE_UP_SECONDS = 5.0
# The same number in every version, so that the second of two concurrent upgrades waits.
ADVISORY_LOCK = 4_127_340_551
TABLES = (
    *("tokens_s0", "authors", "generations"),
    *("imagegen_spend_totals", "imagegen_duplicates", "imagegen_audits", "imagegen_acts"),
)
WORKERS_NAMED = 4


# The second one, if deadlock_timeout is shorter than the lock timeout above.
LOCKED = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)

T = TypeVar("T")


class SchemaError(ImagegenError):
    """The schema was not changed."""


def upgrade(url: str, revision: str = "head") -> str | None:
    """Migrate up to `revision` in one transaction; return the revision reached.

    The migrations before it run again, and make parts that have gone missing since. Raises
    SchemaError, also if imagegen cannot use the tables that are there.
    """

    def change(connection: Connection) -> str | None:
        driver = _driver(connection)
        for problem in schema.obstacles(driver):
            raise SchemaError(problem.message, problem.fix)
        _search_own_schema_first(connection)
        has_forgotten = schema.was_here(driver) and not schema.has_ledger(driver)
        has_ledger = schema.has_ledger(driver)
        with _alembic_config(connection, revision) as config:
            if (now := _revision(connection)) is not None:
                connection.exec_driver_sql(f"DELETE FROM {database.VERSION_TABLE}")
                command.upgrade(config, now)
            else:
                connection.exec_driver_sql(f"DROP TABLE IF EXISTS {database.VERSION_TABLE}")
            command.upgrade(config, revision)
        if not has_ledger:
            _doubt(connection, has_forgotten)
        reached = _revision(connection)
        if reached == database.newest_revision():
            for problem in preflight.table_problems(driver):
                if problem.prevents_start:
                    raise SchemaError(problem.message, problem.fix)
        return reached

    return _in_transaction(url, change)


def downgrade(url: str, revision: str, *, lose_data: bool = False) -> str | None:
    """Migrate down to `revision` in one transaction; return the revision reached.

    Raises SchemaError if a worker holds a lease, or if rows or values in them would be lost, unless
    `lose_data`.
    """

    def change(connection: Connection) -> str | None:
        # All tables at once, in the order in which workers lock them. So no row is added between
        # the count and the drop.
        for table in reversed(TABLES):
            if table == "tokens_s0" or _belongs_to_imagegen(connection, table):
                _lock_table(connection, table)
        if workers := _lease_holders(connection):
            more = ", …" if len(workers) > WORKERS_NAMED else ""
            names = ", ".join(workers[:WORKERS_NAMED])
            raise SchemaError(f"workers are at work on tokens: {names}{more}", "stop them first")
        before = {table: _contents(connection, table) for table in TABLES}
        with _alembic_config(connection, revision) as config:
            command.downgrade(config, revision)
        lost = [
            f"{loss} of {table}"
            for table, contents in before.items()
            if (loss := contents.lost_with(_columns(connection, table)))
        ]
        if lost and not lose_data:  # rolls the transaction back
            raise SchemaError(f"this drops {', '.join(lost)}", "add --yes to go on")
        reached = _revision(connection)
        if reached is None:
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {database.VERSION_TABLE}")
        return reached

    return _in_transaction(url, change)


def _search_own_schema_first(connection: Connection) -> None:
    """Make new tables in the schema that has imagegen's own tables, if there is one."""
    if own := schema.schema_of_imagegen(_driver(connection)):
        path = "concat_ws(', ', %(own)s::text, nullif(current_setting('search_path'), ''))"
        query = f"SELECT set_config('search_path', {path}, true)"
        connection.exec_driver_sql(query, {"own": own})


def _doubt(connection: Connection, has_forgotten: bool) -> None:
    """Let workers look in Replicate's list before they send, if requests may have been forgotten.

    That is so if imagegen has worked here and its ledger is lost (`has_forgotten`). It may be so if
    a token is `generating`. The server then counts as one that was never seen.
    """
    driver = _driver(connection)
    generating = database.read_tables(driver).labels["generating"]
    query = f"SELECT 1 FROM tokens_s0 WHERE status = {generating} LIMIT 1".encode()
    if "noticed_at" in _columns(connection, "imagegen_servers") and (
        has_forgotten or driver.execute(query).fetchone()
    ):
        connection.exec_driver_sql("DELETE FROM imagegen_servers WHERE noticed_at = 'epoch'")


def _lock(connection: Connection) -> None:
    """Wait for another migration to end, and limit how long this one waits for a table."""
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MILLISECONDS}")


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection


@dataclass(frozen=True)
class TableContents:
    """The data in a table that imagegen wrote and that is stored nowhere else."""

    columns: frozenset[str]
    rows: int
    unfinished: int = 0

    def lost_with(self, remaining: frozenset[str]) -> str | None:
        """Return what is lost if only these columns remain, as text; None if nothing is."""
        dropped = self.columns - remaining
        if not dropped or not self.rows:
            return None
        rows = plural(self.rows, "row")
        if self.unfinished:
            rows += f" ({self.unfinished} unfinished)"
        return f"{', '.join(sorted(dropped))} in {rows}" if remaining else rows


def _contents(connection: Connection, table: str) -> TableContents:
    """Count the rows of a table that may be lost."""
    columns = _columns(connection, table)
    if not columns:
        return TableContents(columns, 0)
    if _belongs_to_imagegen(connection, table):
        is_ledger = table == "generations" and "state" in columns
        unfinished = "state = 'open'" if is_ledger else "false"
        query = f"SELECT count(*), count(*) FILTER (WHERE {unfinished}) FROM {table}"
        return TableContents(columns, *connection.exec_driver_sql(query).one())
    if table != "tokens_s0" or "image_url" not in columns:
        return TableContents(frozenset(), 0)
    # An adopted table is kept. Of the columns that imagegen added to it, this one has images.
    query = f"SELECT count(*) FROM {table} WHERE image_url IS NOT NULL"
    return TableContents(frozenset({"image_url"}), connection.exec_driver_sql(query).scalar_one())


def _columns(connection: Connection, table: str) -> frozenset[str]:
    """Return the names of a table's columns; none if there is no such table."""
    query = f"""SELECT attname FROM pg_attribute
                WHERE attrelid = to_regclass('{table}') AND attnum > 0 AND NOT attisdropped"""
    return frozenset(str(name) for (name,) in connection.exec_driver_sql(query))


def _lease_holders(connection: Connection) -> list[str]:
    """Return the workers whose leases have not ended."""
    if not {"state", "worker", "lease_until"} <= _columns(connection, "generations"):
        return []
    query = """SELECT DISTINCT worker FROM generations
               WHERE state = 'open' AND worker IS NOT NULL AND lease_until > now() ORDER BY 1"""
    return [str(worker) for (worker,) in connection.exec_driver_sql(query)]


def _belongs_to_imagegen(connection: Connection, table: str) -> bool:
    if table == "generations":
        return schema.has_ledger(_driver(connection))
    query = f"SELECT obj_description(to_regclass('{table}'), 'pg_class')"
    return bool(connection.exec_driver_sql(query).scalar() == OWNERSHIP_COMMENT)


def _lock_table(connection: Connection, table: str) -> None:
    if _columns(connection, table):
        connection.exec_driver_sql(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")


def _revision(connection: Connection) -> str | None:
    return database.current_revision(_driver(connection))


@contextmanager
def _alembic_config(connection: Connection, revision: str) -> Iterator[Config]:
    """Configure alembic. Raises SchemaError with the known revisions for an unknown one."""
    config = Config()
    config.set_main_option("script_location", str(files("imagegen.db")))
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config).walk_revisions()
    known = sorted(script.revision for script in scripts)
    now = _revision(connection)
    if now not in (None, *known):
        raise SchemaError(
            f"the database is at revision {now}, which this imagegen does not know",
            "install the imagegen that it belongs to",
        )
    try:
        yield config
    except CommandError:
        raise SchemaError(
            f"{revision!r} is no revision to go to from {now or 'base'}: there are base,"
            f" {', '.join(known)}, and head, the last of them"
        ) from None


def _in_transaction(url: str, change: Callable[[Connection], T]) -> T:
    """Run a change of the schema in a transaction, again if it waits for a lock; return its result.

    SQLAlchemy gets a connection, and never the URL with its password. Raises SchemaError, or
    psycopg's own error if the database is away.
    """

    def connect() -> psycopg.Connection:
        connection = database.connect(url, "imagegen db")
        connection.autocommit = False
        return connection

    engine = create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool)
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while True:
        try:
            with engine.begin() as connection:
                _lock(connection)
                return change(connection)
        except (DBAPIError, psycopg.Error) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            if not isinstance(cause, LOCKED):
                raise _as_error(cause) from None
        if time.monotonic() > deadline:
            raise SchemaError("a long transaction holds a table", "try again later")
        time.sleep(LOCK_PAUSE_SECONDS)


def _as_error(cause: BaseException | None) -> Exception:
    """Return PostgreSQL's error as a SchemaError of one line; one of AWAY as it is."""
    if isinstance(cause, database.AWAY):
        return cause
    if isinstance(cause, psycopg.errors.DependentObjectsStillExist):
        detail = (cause.diag.message_detail or "").replace("\n", ", ")
        return SchemaError(f"{cause.diag.message_primary} ({detail})", "drop these first")
    return SchemaError(str(cause).partition("\n")[0])
