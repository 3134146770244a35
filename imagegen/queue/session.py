"""Lends connections of a pool, with the queue's statements for the current tables."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from imagegen.database import (
    BoundedConnection,
    Pool,
    Tables,
    TablesAwayError,
    away_if_changed,
    preflight,
)
from imagegen.queue.execution import Rows, execute
from imagegen.queue.fill import Statement, statements


class Session:
    """Lends the connections of a pool, with the statements that fit the tables."""

    def __init__(self, pool: Pool, tables: Tables | None, common: Mapping[str, Any]) -> None:
        """`tables`: None if they are to be read. `common` are values that many statements take."""
        self._pool = pool
        self._common = common
        self.tables = tables
        self._statements = statements(tables) if tables else None
        self._catalog = ""  # as the tables were read

    def use(self, tables: Tables) -> None:
        """Lend statements for these tables from now on."""
        self.tables, self._statements = tables, statements(tables)

    def check(self) -> None:
        """Read the tables again, with the checks of a start, if the catalog has changed since the
        last time. Raises as `lend` does."""
        with self._pool.connection() as connection:
            catalog = preflight.catalog(connection)
        if catalog != self._catalog:
            self._statements = None
            with self.lend():
                self._catalog = catalog

    def run(self, names: Sequence[str], values: Mapping[str, Any]) -> list[Rows]:
        """Execute statements in one round trip. They wait only briefly for rows that another
        transaction has locked. Return the rows of each. Raises as `lend` does, or psycopg.Error."""
        with self.lend() as (connection, statements):
            return execute(connection, [statements[name] for name in names], self.values(values))

    def values(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a statement with the common ones."""
        return {**own, **self._common}

    @contextmanager
    def lend(self) -> Iterator[tuple[BoundedConnection, dict[str, Statement]]]:
        """Lend a connection and the statements by name. Raises TablesAwayError or one of AWAY.

        Tables that have changed are read again, with the checks of a start: nothing is claimed
        while imagegen lacks a column or a privilege.
        """
        with self._pool.connection() as connection:
            try:
                with away_if_changed():
                    if (known := self._statements) is None:
                        self.use(preflight.usable_tables(connection))
                        known = self._statements or {}
                    yield connection, known
            except TablesAwayError:
                self._statements = None
                connection.close()  # its prepared statements are for the old tables
                raise
