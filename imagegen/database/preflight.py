"""Checks of the database, for the start, the doctor and the upgrade."""

from collections.abc import Iterator, Mapping

import psycopg

from imagegen.database import encoding, schema, sql
from imagegen.database.columns import characters, obstacles
from imagegen.database.connection import Connection, is_pooled
from imagegen.database.problem import Problem
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
    "imagegen_duplicates": {"SELECT": None, "INSERT": None, "UPDATE": None},
    "imagegen_audits": {"SELECT": None, "INSERT": None},
    "imagegen_acts": {"SELECT": None},
}  # fmt: skip
# For commands such as `imagegen status`.
SPARE_CONNECTIONS = 2
# The least width of image_url. Replicate's URLs have 91 characters and more, by the file's name.
URL_CHARACTERS = 120
# A narrower column takes none of them.
TOO_FEW_CHARACTERS = 60
# The columns by which a row is found.
KEYS = {"tokens_s0": "token_id", "authors": "id"}
WHOLE_NUMBER = "bigint, integer, smallint, numeric"
NUMBER = f"{WHOLE_NUMBER}, real, double precision"
MOMENT = "timestamp with time zone, timestamp without time zone, date"
TEXT = "text, character varying, character, name, citext"
# The indexes of tokens by status, which migrations make.
INDEXES = {
    "detected": "(created_at, token_id)",
    "generating": "(token_id)",
    "failed": "(created_at, token_id)",
}
# The types that imagegen can use, the best one first; `tables` looks at the status.
USABLE_TYPES = {
    ("tokens_s0", "token_id"): WHOLE_NUMBER,
    ("tokens_s0", "created_at"): MOMENT,
    ("tokens_s0", "image_url"): TEXT,
    ("tokens_s0", "generation_attempts"): NUMBER,
    ("tokens_s0", "generation_error"): TEXT,
    ("tokens_s0", "generate_after"): MOMENT,
    ("authors", "prompt_text"): TEXT,
}


def problems(
    connection: Connection,
    prompts: Mapping[str, str],
    *,
    connections: int = 0,
    keeps_images: bool = True,
) -> list[Problem]:
    """Return all problems. `prompts` are the configured ones by their variables, `connections` the
    number of connections that are needed. Without `keeps_images`, a column for Replicate's URLs
    must take them. A start only warns of it, because images that are paid for must go on."""
    return [
        *_missing_privileges(connection),
        *_row_security(connection),
        *(of_schema := list(_schema(connection))),
        *([] if of_schema else _indexes(connection)),
        *_obstacles(connection, keeps_images=keeps_images),
        *_encoding(connection, prompts),
        *_connection_limits(connection, connections),
    ]


def catalog(connection: Connection) -> str:
    """Return a text that changes with everything that `usable_tables` looks at, except the rows of
    the tables."""
    [(text,)] = connection.execute(SQL["catalog"]).fetchall()
    return str(text)


def usable_tables(connection: Connection) -> Tables:
    """Return the tables as they are. Raises NotMigratedError if they must not be worked on.

    Their revision does not matter: during an upgrade workers of the version before go on.
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
    """Check that PostgreSQL admits the `needed` connections. A pooler has limits of its own."""
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
    """Check that no policy hides rows or refuses a change: a token would seem to have no prompt, or
    its image would be paid for and could not be written."""
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
    """Check the revision; if it is the needed one, check the tables."""
    try:
        with connection.transaction():  # an error here must not fail the checks after it
            check_revision(connection)
    except NotMigratedError as error:
        yield Problem("migrations", error.message, error.fix)
        return
    except psycopg.errors.InsufficientPrivilege:
        yield Problem("migrations", "the revision cannot be read", "grant what is missing")
        return
    yield from table_problems(connection)


def table_problems(connection: Connection) -> Iterator[Problem]:
    """Yield the problems of tables at the newest revision."""
    needed = {
        table: sorted({name for names in NEEDED_PRIVILEGES[table].values() for name in names or ()})
        for table in schema.USERS_TABLES
    }
    found = list(schema.defects(connection, needed))
    yield from found
    if any(problem.prevents_start for problem in found):
        return
    try:
        read_tables(connection)
    except NotMigratedError as error:
        yield Problem("tables", error.message, error.fix)
    yield from _unusable_columns(connection)
    for table, column in KEYS.items():
        values = {"table": table, "column": column}
        row = connection.execute(SQL["uniqueness"], values).fetchone()
        if row:
            is_divided, is_unique = row
            if not is_unique:
                index = f"CREATE UNIQUE INDEX ON {table} ({column});"
                one_table = f"keep all rows in one table, or partition it by {column}, and {index}"
                message = (
                    f"{table}.{column} must be unique by itself: no unique index is on it alone"
                )
                yield Problem("tables", message, one_table if is_divided else index)


def _unusable_columns(connection: Connection) -> Iterator[Problem]:
    """Check the types of columns: PostgreSQL would refuse every statement that compares them."""
    tables, columns = zip(*USABLE_TYPES, strict=True)
    values = {
        "tables": list(tables),
        "columns": list(columns),
        "types": list(USABLE_TYPES.values()),
        "written": NEEDED_PRIVILEGES["tokens_s0"]["UPDATE"],
    }
    rows = connection.execute(SQL["unusable_columns"], values)
    for table, column, type_, types, is_computed in rows.fetchall():
        if is_computed:
            message = f"{table}.{column} is computed (GENERATED), and imagegen has to write to it"
            yield Problem("tables", message, f"make {table}.{column} an ordinary column")
            continue
        best = types.partition(",")[0]
        message = f"{table}.{column} is of type {type_}, and must be one of {types}"
        fix = f"ALTER TABLE {table} ALTER COLUMN {column} TYPE {best} USING {column}::{best};"
        yield Problem("tables", message, fix)
    for of_token, of_author in connection.execute(SQL["author_types"]).fetchall():
        message = f"tokens_s0.author_id is of type {of_token}, and authors.id of type {of_author}"
        yield Problem("tables", message, "make both of one type")


def _indexes(connection: Connection) -> Iterator[Problem]:
    """Check that the indexes are for the status in the application's case: `db upgrade` assumes
    lower case for a table without a row, a default or a CHECK."""
    labels = read_tables(connection).labels
    row = connection.execute(SQL["detected_index"], [labels["detected"]]).fetchone()
    if row:
        (made_for,) = row
        indexes = [
            f"DROP INDEX IF EXISTS imagegen_tokens_{status}; CREATE INDEX imagegen_tokens_{status}"
            f" ON tokens_s0 {columns} WHERE status = {labels[status]};"
            for status, columns in INDEXES.items()
        ]
        trigger = (
            "DROP TRIGGER IF EXISTS imagegen_notify_detected ON tokens_s0;"
            " CREATE TRIGGER imagegen_notify_detected AFTER INSERT OR UPDATE OF status ON tokens_s0"
            f" FOR EACH ROW WHEN (NEW.status = {labels['detected']})"
            " EXECUTE FUNCTION imagegen_notify_detected();"
        )
        message = (
            f"each claim reads all of tokens_s0: the index is for {made_for}, and the status is"
            f" {labels['detected']}"
        )
        fix = " ".join([*indexes, trigger])
        yield Problem("indexes", message, fix, prevents_start=False)


def _obstacles(connection: Connection, *, keeps_images: bool) -> Iterator[Problem]:
    """Warn of triggers and constraints that may refuse a token's image or error. If they do, it is
    kept and tried again. With a column that takes no image, each is paid for and none handed on."""
    width = characters(connection, "image_url")
    if width is not None and width < URL_CHARACTERS:
        yield Problem(
            "columns",
            f"tokens_s0.image_url takes {width} characters, and a URL may have {URL_CHARACTERS}",
            "ALTER TABLE tokens_s0 ALTER COLUMN image_url TYPE text;",
            prevents_start=width < TOO_FEW_CHARACTERS and not keeps_images,
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
