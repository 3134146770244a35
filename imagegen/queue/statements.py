"""The queue's statements, for the tables as they are, and connections to run them over."""

from collections.abc import Iterator
from contextlib import contextmanager

from imagegen.database import (
    Connection,
    Pool,
    Tables,
    TablesAwayError,
    away_if_changed,
    preflight,
    sql,
)

STATEMENTS = sql.load("imagegen.queue", "queue.sql")


def statements(tables: Tables) -> dict[str, str]:
    """Return every statement of the queue by name, for the tables that are there."""
    return {
        name: tables.fill(text, waited_seconds=tables.waited_seconds)
        for name, text in STATEMENTS.items()
    }


class Session:
    """Lends the connections of a pool, with the statements that fit the tables."""

    def __init__(self, pool: Pool, tables: Tables | None) -> None:
        self._pool = pool
        self._tables = tables
        self._statements = statements(tables) if tables else None

    @property
    def error_characters(self) -> int | None:
        """The width of `generation_error`, as far as is known."""
        return self._tables.error_characters if self._tables else None

    @contextmanager
    def lend(self) -> Iterator[tuple[Connection, dict[str, str]]]:
        """Lend a connection and the statements by name. Raises TablesAwayError or one of AWAY.

        Tables that have changed are read again, with the checks of a start: nothing is claimed from
        tables that imagegen could only use at a loss.
        """
        with self._pool.connection() as connection:
            try:
                with away_if_changed():
                    if (known := self._statements) is None:
                        self._tables = preflight.usable_tables(connection)
                        self._statements = known = statements(self._tables)
                    yield connection, known
            except TablesAwayError:
                self._statements = None
                raise
