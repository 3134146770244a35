"""Checks of the database, for the start, the doctor and the upgrade."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import psycopg

from imagegen.database import encoding, sql
from imagegen.database.columns import characters, obstacles
from imagegen.database.connection import Connection, is_pooled
from imagegen.database.revision import VERSION_TABLE, NotMigratedError, check_revision
from imagegen.database.tables import Tables, read_tables

SQL = sql.load("imagegen.database", "preflight.sql")

# The columns that workers and the exporter need for each privilege; None: all of the table. xmin is
# PostgreSQL's own: it shows whether a row was written again.
NEEDED_PRIVILEGES: dict[str, dict[str, list[str] | None]] = {
    VERSION_TABLE: {"SELECT": ["version_num"]},
    "tokens_s0": {
        "SELECT": [
            "token_id", "author_id", "status", "created_at", "image_url", "generation_attempts",
            "generation_error", "generate_after", "xmin",
        ],
        "UPDATE": [
            "status", "image_url", "generation_attempts", "generation_error", "generate_after",
        ],
    },
    "authors": {"SELECT": ["id", "prompt_text"]},
    "generations": {"SELECT": None, "INSERT": None, "UPDATE": None},
    "imagegen_servers": {"SELECT": None, "INSERT": None, "UPDATE": None},
}  # fmt: skip
UNIQUE_INDEX = "CREATE UNIQUE INDEX ON tokens_s0 (token_id);"
# For commands such as `imagegen status`.
SPARE_CONNECTIONS = 2
# Those of Replicate have 91 characters and more, by the name of the file.
URL_CHARACTERS = 120
ONE_TABLE = "keep all tokens in one table, or partition it by token_id, and " + UNIQUE_INDEX


@dataclass(frozen=True)
class Problem:
    """Something that is wrong with the database, and its fix: a command or what to change."""

    check: Literal["permissions", "migrations", "tables", "columns", "encoding", "connections"]
    message: str
    fix: str
    prevents_start: bool = True

    def __str__(self) -> str:
        return f"{self.message}: {self.fix}"


def problems(
    connection: Connection, prompts: Mapping[str, str], *, connections: int = 0
) -> list[Problem]:
    """Return all problems; `prompts` are the configured ones by their variables, and so many
    `connections` are needed."""
    return [
        *_missing_privileges(connection),
        *_row_security(connection),
        *_schema(connection),
        *_obstacles(connection),
        *_encoding(connection, prompts),
        *_connection_limits(connection, connections),
    ]


def usable_tables(connection: Connection) -> Tables:
    """Return the tables as they are. Raises NotMigratedError if they must not be worked on.

    Their revision does not matter: workers of the one before go on during an upgrade.
    """
    for problem in (
        *_missing_privileges(connection),
        *_row_security(connection),
        *table_problems(connection),
    ):
        if problem.prevents_start:
            raise NotMigratedError(problem.message, problem.fix)
    return read_tables(connection)


def _connection_limits(connection: Connection, needed: int) -> Iterator[Problem]:
    """Check that PostgreSQL admits so many connections. A pooler has limits of its own."""
    values = {"needed": needed, "enough": needed + SPARE_CONNECTIONS}
    for limit, fix in connection.execute(SQL["connection_limits"], values):
        if not is_pooled(connection):
            message = f"{needed} connections are needed, and PostgreSQL admits {limit}"
            yield Problem(
                "connections", message, f"{fix} or lower IMAGEGEN_PROCS", prevents_start=False
            )


def _missing_privileges(connection: Connection) -> Iterator[Problem]:
    """Check the tables that are there. Privileges on the needed columns alone are enough."""
    for table, privileges in NEEDED_PRIVILEGES.items():
        role, lacking = "", []
        for privilege, columns in privileges.items():
            values = {"table": table, "privilege": privilege, "columns": columns}
            row = connection.execute(SQL["privilege"], values).fetchone()
            if row:
                role, on_none, missing = row
                if on_none:
                    lacking.append(privilege)
                else:
                    yield _privilege_problem(role, f"{privilege} ({', '.join(missing)})", table)
        if lacking:
            yield _privilege_problem(role, ", ".join(lacking), table)


def _privilege_problem(role: str, privileges: str, table: str) -> Problem:
    return Problem(
        "permissions",
        f"{role} may not {privileges} on {table}",
        f"GRANT {privileges} ON {table} TO {role};",
    )


def _row_security(connection: Connection) -> Iterator[Problem]:
    """Check that no policy hides rows: a token whose author cannot be seen seems to have no prompt,
    and an image that may not be written has been paid for."""
    values = {"tables": list(NEEDED_PRIVILEGES)}
    row = connection.execute(SQL["row_security"], values).fetchone()
    if row:
        role, tables = row
        policies = (
            f"CREATE POLICY imagegen ON {table} TO {role} USING (true);" for table in tables
        )
        yield Problem(
            "permissions",
            f"row-level security of {', '.join(tables)} restricts {role}",
            f"ALTER ROLE {role} BYPASSRLS; or {' '.join(policies)}",
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
    yield from table_problems(connection)


def table_problems(connection: Connection) -> Iterator[Problem]:
    """Yield why imagegen cannot use the user's tables, at whatever revision they are."""
    try:
        read_tables(connection)
    except NotMigratedError as error:
        yield Problem("tables", error.message, error.fix)
    row = connection.execute(SQL["token_id_uniqueness"]).fetchone()
    if row:
        is_divided, is_unique = row
        if not is_unique:
            message = "tokens_s0.token_id must be unique by itself: no unique index is on it alone"
            yield Problem("tables", message, ONE_TABLE if is_divided else UNIQUE_INDEX)


def _obstacles(connection: Connection) -> Iterator[Problem]:
    """Warn of what may refuse a token's image or error: it is kept then, and tried again."""
    width = characters(connection, "image_url")
    if width is not None and width < URL_CHARACTERS:
        yield Problem(
            "columns",
            f"tokens_s0.image_url takes {width} characters, and a URL may have {URL_CHARACTERS}",
            "ALTER TABLE tokens_s0 ALTER COLUMN image_url TYPE text;",
            prevents_start=False,
        )
    written = NEEDED_PRIVILEGES["tokens_s0"]["UPDATE"] or ()
    if found := obstacles(connection, written):
        yield Problem(
            "columns",
            f"these may refuse what imagegen writes to tokens_s0: {', '.join(found)}",
            f"see that they take each change of {', '.join(written)}",
            prevents_start=False,
        )


def _encoding(connection: Connection, prompts: Mapping[str, str]) -> Iterator[Problem]:
    if warning := encoding.encoding_warning(connection):
        yield Problem("encoding", warning, encoding.FIX, prevents_start=False)
    for variable, prompt in prompts.items():
        if not encoding.can_store(connection, prompt):
            message = f"the database lacks characters of {variable}, {prompt!r}"
            yield Problem("encoding", message, "write it without them")
