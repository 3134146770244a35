"""Executes statements of the queue in one round trip, which is one transaction.

Without a pooler each statement is prepared once in a session. A pooler would lose prepared
statements, so each is sent as text, with the settings that it needs.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from psycopg import ClientCursor
from psycopg.errors import DuplicatePreparedStatement, InvalidSqlStatementName
from psycopg.rows import dict_row

from imagegen.database import BRIEFLY, BoundedConnection
from imagegen.queue.fill import Statement

Rows = list[dict[str, Any]]


def execute(
    connection: BoundedConnection, statements: list[Statement], values: Mapping[str, Any]
) -> list[Rows]:
    """Execute statements, which wait only briefly for rows that another transaction has locked.
    Returns the rows of each statement. Raises psycopg.Error."""
    if not connection.is_pooled:
        _prepare(connection, statements)
        calls = [(each.name, [values[name] for name in each.parameters]) for each in statements]
        try:
            return connection.execute_prepared(calls)
        except InvalidSqlStatementName:
            connection.is_pooled = True  # the pooler looks like the server itself
    cursor = ClientCursor(connection, row_factory=dict_row)
    cursor.execute(BRIEFLY + "; ".join(each.text for each in statements), values)
    results = [_rows(cursor)]
    while cursor.nextset():
        results.append(_rows(cursor))
    return results[-len(statements) :]


def _prepare(connection: BoundedConnection, statements: list[Statement]) -> None:
    for each in statements:
        if each.name not in connection.prepared:
            with suppress(DuplicatePreparedStatement):  # its name is a hash of its text
                ClientCursor(connection).execute(f"PREPARE {each.name} AS {each.numbered}".encode())
            connection.prepared.add(each.name)


def _rows(cursor: ClientCursor[dict[str, Any]]) -> Rows:
    return cursor.fetchall() if cursor.rownumber is not None else []
