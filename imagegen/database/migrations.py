"""The database's schema: alembic, run from the package, with one line for what can go wrong."""

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
from imagegen.errors import ImagegenError
from imagegen.text import plural

# While a migration waits for a lock, every mint waits behind it.
LOCK_TIMEOUT_MILLISECONDS = 5000
# Any number, the same in every version: of two upgrades at once, the second waits.
ADVISORY_LOCK = 4_127_340_551
# The comment on tables of the user that a migration made, and on columns that it added to them.
OWNERSHIP_COMMENT = "made by imagegen"
# In the order of their locks. `generations` always belongs to imagegen.
TABLES = ("tokens_s0", "authors", "generations")


class SchemaError(ImagegenError):
    """The schema was not changed."""


def upgrade(url: str, revision: str = "head") -> str | None:
    """Migrate up to `revision`, in one transaction; return the database's revision then."""
    with _connected(url) as connection:
        _lock(connection)
        with _revisions_named(connection, revision) as config:
            command.upgrade(config, revision)
        return _revision(connection)


def downgrade(url: str, revision: str = "base", *, lose_data: bool = False) -> str | None:
    """Migrate down to `revision`, in one transaction; return the database's revision then.

    Raises SchemaError if rows or values in them would be lost, unless `lose_data`.
    """
    with _connected(url) as connection:
        _lock(connection)
        before = {table: _contents(connection, table) for table in TABLES}
        with _revisions_named(connection, revision) as config:
            command.downgrade(config, revision)
        lost = [
            f"{loss} of {table}"
            for table, contents in before.items()
            if (loss := contents.lost_with(_columns(connection, table)))
        ]
        if lost and not lose_data:  # the error rolls the transaction back
            raise SchemaError(f"this drops {', '.join(lost)}", "add --yes to go on")
        now = _revision(connection)
        if now is None:
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {database.VERSION_TABLE}")
        return now


def _lock(connection: Connection) -> None:
    """One migration at a time, and none that waits long for a table that is in use."""
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MILLISECONDS}")


@dataclass(frozen=True)
class TableContents:
    """The data in a table that nothing but imagegen's record has."""

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
    """Count the rows of a table, and lock it: nothing is written before it may be dropped."""
    columns = _columns(connection, table)
    if not columns:
        return TableContents(columns, 0)
    if table == "generations" or _belongs_to_imagegen(connection, table):
        connection.exec_driver_sql(f"LOCK TABLE {table} IN SHARE MODE")
        unfinished = "state = 'open'" if table == "generations" else "false"
        query = f"SELECT count(*), count(*) FILTER (WHERE {unfinished}) FROM {table}"
        rows, open_rows = connection.exec_driver_sql(query).one()
        return TableContents(columns, rows, open_rows)
    if table != "tokens_s0" or "image_url" not in columns:
        return TableContents(frozenset(), 0)
    # An adopted table stays. Of the columns that imagegen added to it, this one has images.
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
def _revisions_named(connection: Connection, revision: str) -> Iterator[Config]:
    """Configure alembic. Raises SchemaError with the known revisions if this is none of them."""
    config = _config(connection)
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


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("imagegen.db")))
    config.attributes["connection"] = connection
    return config


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    """Run one transaction on SQLAlchemy's connection, which never sees the URL and its password.

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
