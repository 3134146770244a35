"""The database's schema: alembic, run from the package, with one line for what can go wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, NullPool, create_engine
from sqlalchemy.exc import DBAPIError

from imagegen import database

# A migration that waits for a lock makes every mint behind it wait too.
LOCK_TIMEOUT_MILLISECONDS = 5000
# Any number, the same in every imagegen: two upgrades at once run one after the other.
ADVISORY_LOCK = 4_127_340_551


class SchemaError(Exception):
    """The schema was not changed; the message says why, and the mend."""


def upgrade(url: str, revision: str = "head") -> str | None:
    """Bring the database up to `revision`, in one transaction; returns where it is then."""
    with _connected(url) as connection:
        _lock(connection)
        command.upgrade(_config(connection), revision)
        return _revision(connection)


def downgrade(url: str, revision: str = "base", *, lose_data: bool = False) -> str | None:
    """Take the database down to `revision`, in one transaction; returns where it is then.

    Raises SchemaError where something of the record would be lost, unless `lose_data`.
    """
    with _connected(url) as connection:
        _lock(connection)
        generations, before = _generations(connection), _columns(connection)
        command.downgrade(_config(connection), revision)
        if not lose_data:  # the transaction ends here, and takes it all back
            _refuse_to_lose(generations, before - _columns(connection))
        left = _revision(connection)
        if left is None:
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {database.VERSION_TABLE}")
        return left


def _lock(connection: Connection) -> None:
    """One migration at a time, and none that waits long for a table that is in use."""
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MILLISECONDS}")


def _refuse_to_lose(generations: tuple[int, int], columns: set[str]) -> None:
    total, unfinished = generations
    if not total or not columns:
        return
    lost = "the record"
    if "id" not in columns:
        lost = f"{', '.join(sorted(columns))} from the record"
    raise SchemaError(
        f"this drops {lost} of {total} generations, {unfinished} of them unfinished:"
        " add --yes to go on"
    )


def _columns(connection: Connection) -> set[str]:
    """The columns of `generations`; none where it is not there."""
    query = """SELECT attname FROM pg_attribute
               WHERE attrelid = to_regclass('generations') AND attnum > 0 AND NOT attisdropped"""
    return {str(name) for (name,) in connection.exec_driver_sql(query)}


def _generations(connection: Connection) -> tuple[int, int]:
    """How many there are, and how many of them are unfinished."""
    if not _columns(connection):
        return 0, 0
    query = "SELECT count(*), count(*) FILTER (WHERE state = 'open') FROM generations"
    total, unfinished = connection.exec_driver_sql(query).one()
    return total, unfinished


def _revision(connection: Connection) -> str | None:
    driver: Any = connection.connection.driver_connection
    return database.current_revision(driver)


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
    except CommandError as error:
        raise SchemaError(str(error)) from None
