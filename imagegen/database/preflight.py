"""Checks of the database, for the start, the doctor and the upgrade."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import psycopg

from imagegen.database import encoding
from imagegen.database.connection import Connection
from imagegen.database.revision import VERSION_TABLE, NotMigratedError, check_revision
from imagegen.database.tables import read_tables

NEEDED_PRIVILEGES = {
    VERSION_TABLE: ("SELECT",),
    "tokens_s0": ("SELECT", "UPDATE"),
    "authors": ("SELECT",),
    "generations": ("SELECT", "INSERT", "UPDATE"),
    "imagegen_servers": ("SELECT", "INSERT", "UPDATE"),
}


@dataclass(frozen=True)
class Problem:
    """Something that is wrong with the database, and its fix: a command or what to change."""

    check: Literal["permissions", "migrations", "tables", "encoding"]
    message: str
    fix: str
    prevents_start: bool = True

    def __str__(self) -> str:
        return f"{self.message}: {self.fix}"


def problems(connection: Connection, prompts: Mapping[str, str]) -> list[Problem]:
    """Return all problems; `prompts` are the configured ones by their variables."""
    return [
        *_missing_privileges(connection),
        *_schema(connection),
        *_encoding(connection, prompts),
    ]


def _missing_privileges(connection: Connection) -> Iterator[Problem]:
    """Check the tables that are there; a privilege on one column is enough."""
    for table, needed in NEEDED_PRIVILEGES.items():
        row = connection.execute(
            """SELECT quote_ident(current_user), string_agg(p, ', ')
               FROM unnest(%s::text[]) p
               WHERE NOT has_any_column_privilege(current_user, to_regclass(%s), p)""",
            [list(needed), table],
        ).fetchone()
        if row and row[1]:
            role, privileges = row
            yield Problem(
                "permissions",
                f"{role} may not {privileges} on {table}",
                f"GRANT {privileges} ON {table} TO {role};",
            )


def _schema(connection: Connection) -> Iterator[Problem]:
    """Check the revision, and the tables if it is the one needed."""
    try:
        check_revision(connection)
    except NotMigratedError as error:
        yield Problem("migrations", error.message, error.fix)
        return
    except psycopg.errors.InsufficientPrivilege:
        yield Problem("migrations", "the revision cannot be read", "grant what is missing")
        return
    try:
        read_tables(connection)
    except NotMigratedError as error:
        yield Problem("tables", error.message, error.fix)


def _encoding(connection: Connection, prompts: Mapping[str, str]) -> Iterator[Problem]:
    if warning := encoding.encoding_warning(connection):
        yield Problem("encoding", warning, encoding.FIX, prevents_start=False)
    for variable, prompt in prompts.items():
        if not encoding.can_store(connection, prompt):
            message = f"the database lacks characters of {variable}, {prompt!r}"
            yield Problem("encoding", message, "write it without them")
