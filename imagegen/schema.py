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

    Raises SchemaError where rows of ours would be dropped, unless `lose_data`.
    """
    with _connected(url) as connection:
        _lock(connection)
        if not lose_data:
            _refuse_to_lose(connection)
        command.downgrade(_config(connection), revision)
        left = _revision(connection)
        if left is None:
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {database.VERSION_TABLE}")
        return left


def _lock(connection: Connection) -> None:
    """One migration at a time, and none that waits long for a table that is in use."""
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MILLISECONDS}")


def _refuse_to_lose(connection: Connection) -> None:
    if not connection.exec_driver_sql("SELECT to_regclass('generations') IS NOT NULL").scalar():
        return
    query = "SELECT count(*), count(*) FILTER (WHERE state = 'open') FROM generations"
    total, unfinished = connection.exec_driver_sql(query).one()
    if total:
        raise SchemaError(
            f"this drops the record of {total} generations, {unfinished} of them unfinished:"
            " add --yes to go on"
        )


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
