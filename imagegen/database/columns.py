"""Limits of the user's columns for the values that imagegen writes to them."""

from collections.abc import Collection

from imagegen.database import sql
from imagegen.database.connection import Connection

SQL = sql.load("imagegen.database", "columns.sql")


def characters(connection: Connection, column: str) -> int | None:
    """Return how many characters a column of `tokens_s0` takes; None: it has no limit."""
    row = connection.execute(SQL["characters"], [column]).fetchone()
    return row[0] if row else None


def obstacles(connection: Connection, columns: Collection[str]) -> list[str]:
    """Return the triggers, constraints, rules and indexes that may refuse a change of these columns
    of `tokens_s0`, each as its kind and name."""
    rows = connection.execute(SQL["obstacles"], {"columns": list(columns)})
    return [obstacle for (obstacle,) in rows]
