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

# A migration that waits for a lock makes every mint behind it wait too.
LOCK_TIMEOUT_MILLISECONDS = 5000
# Any number, the same in every imagegen: two upgrades at once run one after the other.
ADVISORY_LOCK = 4_127_340_551
# The comment on what a migration made in place of the user, or in the user's table.
MADE_HERE = "made by imagegen"
# In the order of their locks. `generations` is always imagegen's own.
TABLES = ("tokens_s0", "authors", "generations")


class SchemaError(Exception):
    """The schema was not changed; the message says why, and the mend."""


def upgrade(url: str, revision: str = "head") -> str | None:
    """Bring the database up to `revision`, in one transaction; returns where it is then."""
    with _connected(url) as connection:
        _lock(connection)
        with _revisions_named(connection, revision) as config:
            command.upgrade(config, revision)
        return _revision(connection)


def downgrade(url: str, revision: str = "base", *, lose_data: bool = False) -> str | None:
    """Take the database down to `revision`, in one transaction; returns where it is then.

    Raises SchemaError where rows or what they say would be lost, unless `lose_data`.
    """
    with _connected(url) as connection:
        _lock(connection)
        before = {table: _read(connection, table) for table in TABLES}
        with _revisions_named(connection, revision) as config:
            command.downgrade(config, revision)
        if not lose_data:  # the transaction ends here, and takes it all back
            lost = {table: held.lost(_columns(connection, table)) for table, held in before.items()}
            _refuse_to_lose([f"{what} of {table}" for table, what in lost.items() if what])
        left = _revision(connection)
        if left is None:
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {database.VERSION_TABLE}")
        return left


def _lock(connection: Connection) -> None:
    """One migration at a time, and none that waits long for a table that is in use."""
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MILLISECONDS}")


@dataclass(frozen=True)
class Held:
    """What a table holds that only imagegen has written down."""

    columns: frozenset[str]
    rows: int
    unfinished: int = 0

    def lost(self, left: frozenset[str]) -> str | None:
        """What goes where only these columns are left, in words; None where it is nothing."""
        gone = self.columns - left
        if not gone or not self.rows:
            return None
        rows = f"{self.rows} row{'' if self.rows == 1 else 's'}"
        if self.unfinished:
            rows += f" ({self.unfinished} unfinished)"
        return f"{', '.join(sorted(gone))} in {rows}" if left else rows


def _read(connection: Connection, table: str) -> Held:
    """Locks what may be dropped: nobody writes to it between the count and the drop."""
    columns = _columns(connection, table)
    if not columns:
        return Held(columns, 0)
    if table == "generations" or _is_made_here(connection, table):
        connection.exec_driver_sql(f"LOCK TABLE {table} IN SHARE MODE")
        unfinished = "state = 'open'" if table == "generations" else "false"
        query = f"SELECT count(*), count(*) FILTER (WHERE {unfinished}) FROM {table}"
        rows, open_rows = connection.exec_driver_sql(query).one()
        return Held(columns, rows, open_rows)
    # An adopted table stays, but for columns that were added to it: images are worth a question.
    image_url = columns & {"image_url"} if table == "tokens_s0" else frozenset()
    if not image_url:
        return Held(frozenset(), 0)
    query = f"SELECT count(*) FROM {table} WHERE image_url IS NOT NULL"
    return Held(frozenset(image_url), connection.exec_driver_sql(query).scalar_one())


def _refuse_to_lose(lost: list[str]) -> None:
    if lost:
        raise SchemaError(f"this drops {', '.join(lost)}: add --yes to go on")


def _columns(connection: Connection, table: str) -> frozenset[str]:
    """Empty where the table is not there."""
    query = f"""SELECT attname FROM pg_attribute
                WHERE attrelid = to_regclass('{table}') AND attnum > 0 AND NOT attisdropped"""
    return frozenset(str(name) for (name,) in connection.exec_driver_sql(query))


def _is_made_here(connection: Connection, table: str) -> bool:
    query = f"SELECT obj_description(to_regclass('{table}'), 'pg_class')"
    return bool(connection.exec_driver_sql(query).scalar() == MADE_HERE)


def _revision(connection: Connection) -> str | None:
    driver: Any = connection.connection.driver_connection
    return database.current_revision(driver)


@contextmanager
def _revisions_named(connection: Connection, revision: str) -> Iterator[Config]:
    """Raises SchemaError with the revisions that there are, where this is none to go to."""
    config = _config(connection)
    scripts = ScriptDirectory.from_config(config).walk_revisions()
    known = sorted(script.revision for script in scripts)
    now = _revision(connection)
    if now not in (None, *known):
        raise SchemaError(
            f"the database is at revision {now}, which this imagegen does not know:"
            " install the imagegen that it belongs to"
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
    """One transaction on a connection of SQLAlchemy's, which never sees the URL and its password.

    Raises SchemaError, or psycopg's own error where the database is away.
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
            raise SchemaError("a long transaction holds a table: try again later") from None
        if isinstance(error.orig, database.AWAY):
            raise error.orig from None
        raise SchemaError(str(error.orig).partition("\n")[0]) from None
