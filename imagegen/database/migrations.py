"""Changes of the database's schema: alembic, run from the package, with errors in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, NullPool, create_engine
from sqlalchemy.exc import DBAPIError

from imagegen import database
from imagegen.database import preflight
from imagegen.errors import ImagegenError
from imagegen.text import plural

# Every mint waits behind a migration that waits for a lock.
LOCK_TIMEOUT_MILLISECONDS = 5000
# Any number, the same in every version: the second of two concurrent upgrades waits.
ADVISORY_LOCK = 4_127_340_551
# The comment on the user's tables and columns that a migration made.
OWNERSHIP_COMMENT = "made by imagegen"
# In the order in which they are locked. `generations` always belongs to imagegen.
TABLES = ("tokens_s0", "authors", "generations")


class SchemaError(ImagegenError):
    """The schema was not changed."""


def upgrade(url: str, revision: str = "head") -> str | None:
    """Migrate up to `revision` in one transaction; return the revision reached.

    Raises SchemaError, also if imagegen cannot use the tables that are there.
    """
    with _connected(url) as connection:
        _lock(connection)
        with _alembic_config(connection, revision) as config:
            command.upgrade(config, revision)
        driver: Any = connection.connection.driver_connection
        for problem in preflight.table_problems(driver):
            raise SchemaError(problem.message, problem.fix)
        return _revision(connection)


def downgrade(url: str, revision: str = "base", *, lose_data: bool = False) -> str | None:
    """Migrate down to `revision` in one transaction; return the revision reached.

    Raises SchemaError if rows or values in them would be lost, unless `lose_data`.
    """
    with _connected(url) as connection:
        _lock(connection)
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


def _lock(connection: Connection) -> None:
    """Wait for another migration, and let this one wait for a table only for a short time."""
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MILLISECONDS}")


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
    """Count the rows of a table, and lock it: no row is added before it may be dropped."""
    columns = _columns(connection, table)
    if not columns:
        return TableContents(columns, 0)
    if table == "generations" or _belongs_to_imagegen(connection, table):
        connection.exec_driver_sql(f"LOCK TABLE {table} IN SHARE MODE")
        unfinished = "state = 'open'" if table == "generations" else "false"
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


def _belongs_to_imagegen(connection: Connection, table: str) -> bool:
    query = f"SELECT obj_description(to_regclass('{table}'), 'pg_class')"
    return bool(connection.exec_driver_sql(query).scalar() == OWNERSHIP_COMMENT)


def _revision(connection: Connection) -> str | None:
    driver: Any = connection.connection.driver_connection
    return database.current_revision(driver)


@contextmanager
def _alembic_config(connection: Connection, revision: str) -> Iterator[Config]:
    """Configure alembic. Raises SchemaError with the known revisions if this is none of them."""
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


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    """Run one transaction. SQLAlchemy gets a connection, and never the URL with its password.

    Raises SchemaError, or psycopg's own error if the database is away.
    """

    def connect() -> psycopg.Connection:
        connection = database.connect(url, "imagegen db")
        connection.autocommit = False
        return connection

    engine = create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool)
    try:
        with engine.begin() as connection:
            yield connection
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.errors.LockNotAvailable):
            raise SchemaError("a long transaction holds a table", "try again later") from None
        if isinstance(error.orig, database.AWAY):
            raise error.orig from None
        raise SchemaError(str(error.orig).partition("\n")[0]) from None
