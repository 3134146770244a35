"""How statements of the queue are executed: in one round trip, which is one transaction.

On a session of its own each is prepared once. Behind a pooler, which would forget that, it is sent
as a whole, with the settings that it needs.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TypeVar

from psycopg import ClientCursor
from psycopg.errors import DuplicatePreparedStatement, InvalidSqlStatementName
from psycopg.rows import BaseRowFactory

from imagegen.database import BRIEFLY, BoundedConnection
from imagegen.queue.fill import Statement

Row = TypeVar("Row")


def execute(
    connection: BoundedConnection,
    statements: list[Statement],
    values: Mapping[str, Any],
    row_factory: BaseRowFactory[Row],
) -> list[list[Row]]:
    """Execute statements, which wait only briefly for rows that another transaction holds. Returns
    the rows of each."""
    cursor = ClientCursor(connection, row_factory=row_factory)
    if not connection.is_pooled:
        _prepare(connection, statements)
        try:
            cursor.execute("; ".join(each.call for each in statements), values)
        except InvalidSqlStatementName:
            connection.is_pooled = True  # by one that looks like the server itself
    if connection.is_pooled:
        cursor.execute(BRIEFLY + "; ".join(each.text for each in statements), values)
    results = [_rows(cursor)]
    while cursor.nextset():
        results.append(_rows(cursor))
    return results[-len(statements) :]


def _prepare(connection: BoundedConnection, statements: list[Statement]) -> None:
    for each in statements:
        if each.name not in connection.prepared:
            with suppress(DuplicatePreparedStatement):  # of the same name, so the same
                ClientCursor(connection).execute(f"PREPARE {each.name} AS {each.numbered}".encode())
            connection.prepared.add(each.name)


def _rows(cursor: ClientCursor[Row]) -> list[Row]:
    return cursor.fetchall() if cursor.rownumber is not None else []
