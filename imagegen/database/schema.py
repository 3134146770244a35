"""Finds parts of the schema that are missing, or not imagegen's: for start, doctor and upgrade."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from psycopg.rows import dict_row

from imagegen.database import sql
from imagegen.database.connection import Connection
from imagegen.database.problem import Problem
from imagegen.database.revision import UPGRADE
from imagegen.database.tables import BRING_BACK

SQL = sql.load("imagegen.database", "schema.sql")

# The comment with which migrations mark the tables and columns that they make.
OWNERSHIP_COMMENT = "made by imagegen"
USERS_TABLES = ("tokens_s0", "authors")
TABLES = (
    *USERS_TABLES,
    "generations",
    "imagegen_servers",
    "imagegen_duplicates",
    "imagegen_audits",
    "imagegen_acts",
)
# Workers do without it: only `spend` and `prune` read and write it.
OTHER_TABLES = ("imagegen_spend_totals",)
# The columns that imagegen adds to tokens_s0.
OWN_COLUMNS = ("image_url", "generation_attempts", "generation_error", "generate_after")
# Indexes without which an image could be paid for twice.
UNIQUE_INDEXES = {
    "generations_pkey": "generations",
    "generations_prediction_id_key": "generations",
    "generations_one_open": "generations",
    "imagegen_servers_pkey": "imagegen_servers",
    "imagegen_duplicates_pkey": "imagegen_duplicates",
    "imagegen_audits_pkey": "imagegen_audits",
    "imagegen_acts_pkey": "imagegen_acts",
}
OTHER_INDEXES = {
    "imagegen_spend_totals_pkey": "imagegen_spend_totals",
    "generations_leases": "generations",
    "generations_token": "generations",
    "generations_requested": "generations",
    "generations_ended": "generations",
    "imagegen_acts_of_all": "imagegen_acts",
    "imagegen_acts_token": "imagegen_acts",
    "imagegen_tokens_detected": "tokens_s0",
    "imagegen_tokens_generating": "tokens_s0",
    "imagegen_tokens_failed": "tokens_s0",
    "imagegen_duplicates_made": "imagegen_duplicates",
}
# By pg_class.relkind. tokens_s0 must be a table: its rows are locked, and a trigger sees a mint.
KINDS = {
    "v": "a view", "m": "a materialized view", "f": "a foreign table", "S": "a sequence",
    "i": "an index", "I": "an index", "c": "a type",
}  # fmt: skip
USABLE_KINDS = {"tokens_s0": {"r", "p"}, "authors": {"r", "p", "v", "m", "f"}}
A_SCHEMA_OF_ITS_OWN = (
    "rename that, or give imagegen's tables a schema of their own, first in the search_path:"
    " CREATE SCHEMA imagegen; ALTER ROLE {role} SET search_path = imagegen, {path};"
)
WAKE_UPS = "workers hear of a mint only when they look for it (POLL_INTERVAL_SECONDS)"


def obstacles(connection: Connection) -> Iterator[Problem]:
    """Yield the problems with which `db upgrade` must not start."""
    was_here = _value(connection, "was_here")
    for table in USERS_TABLES:
        if _one(connection, "visible", name=table):
            continue
        if others := _ask(connection, "elsewhere", name=table):
            yield _is_elsewhere(connection, table, others)
        elif was_here:
            yield Problem(
                "tables",
                f"{table} is gone, and imagegen has worked with it",
                "bring it back; or, to begin anew, run `imagegen db downgrade base --yes` first",
            )
    yield from _unusable(connection)
    for row in _ask(connection, "taken"):
        session = _one(connection, "session")
        message = f"{row['format']} is not imagegen's, which needs a table of this name"
        yield Problem("tables", message, A_SCHEMA_OF_ITS_OWN.format(**session))


def defects(connection: Connection, needed: Mapping[str, Sequence[str]]) -> Iterator[Problem]:
    """Yield the parts of the schema that are missing or changed. `needed` has the columns of the
    user's tables."""
    for table in TABLES:
        if not _one(connection, "visible", name=table):
            others = _ask(connection, "elsewhere", name=table) if table in USERS_TABLES else []
            if others:
                yield _is_elsewhere(connection, table, others)
            else:
                fix = BRING_BACK if table in USERS_TABLES else UPGRADE
                yield Problem("tables", f"there is no table {table}", fix)
    for table in OTHER_TABLES:
        if not _one(connection, "visible", name=table):
            message = f"there is no table {table}"
            yield Problem("tables", message, UPGRADE, prevents_start=False)
    for table, columns in needed.items():
        rows = _ask(connection, "missing_columns", table=table, columns=list(columns))
        for name in [row["name"] for row in rows]:
            fix = UPGRADE if name in OWN_COLUMNS else f"undo what was done to {table}"
            yield Problem("tables", f"{table} lacks the column {name}", fix)
    yield from _unusable(connection)
    yield from _missing_indexes(connection, UNIQUE_INDEXES, prevents_start=True)
    yield from _missing_indexes(connection, OTHER_INDEXES, prevents_start=False)
    yield from _trigger(connection)
    yield from _twins(connection)


def has_ledger(connection: Connection) -> bool:
    """Return whether imagegen's `generations`, the record of all requests, is there."""
    return bool(_value(connection, "has_ledger"))


def was_here(connection: Connection) -> bool:
    """Return whether imagegen has worked in this schema before."""
    return bool(_value(connection, "was_here"))


def schema_of_imagegen(connection: Connection) -> str | None:
    """Return the schema that has imagegen's own tables, quoted; None if there is none."""
    row = _one(connection, "schema_of_imagegen")
    return row["quote_ident"] if row else None


def _unusable(connection: Connection) -> Iterator[Problem]:
    for table, usable in USABLE_KINDS.items():
        found = _one(connection, "visible", name=table)
        if found and found["kind"] not in usable:
            message = f"{table} is {KINDS.get(found['kind'], 'no table')}, not a table"
            yield Problem("tables", message, f"give the table itself the name {table}")
    for row in _ask(connection, "author_table"):
        message = f"tokens_s0.author_id refers to {row['table']}, not to authors"
        if row["is_other_authors"]:
            yield Problem("tables", message, "put its schema first in the search_path")
        elif not _one(connection, "visible", name="authors"):
            view = f"CREATE VIEW authors AS SELECT id, prompt_text FROM {row['table']};"
            yield Problem("tables", message, view)


def _is_elsewhere(connection: Connection, table: str, others: list[dict[str, Any]]) -> Problem:
    """Return the problem that a table is not in the search_path, with the fix."""
    names, first = " and ".join(row["table"] for row in others), others[0]
    session = _one(connection, "session")
    role, schema = session["role"], first["schema"]
    if len(others) > 1:
        fix = "put the schema of the right one into the search_path"
    elif first["has_capitals"]:
        fix = f"ALTER TABLE {first['table']} RENAME TO {table};"
    elif not first["may_be_used"]:
        fix = f"GRANT USAGE ON SCHEMA {schema} TO {role};"
    else:
        fix = (
            f"ALTER ROLE {role} SET search_path = {schema}, {session['path']};"
            f" or in DATABASE_URL: options=-csearch_path%3D{schema}"
        )
    message = f"the search_path, {session['path']}, has no table {table}; there is {names}"
    return Problem("tables", message, fix)


def _missing_indexes(
    connection: Connection, indexes: Mapping[str, str], *, prevents_start: bool
) -> Iterator[Problem]:
    names, tables = list(indexes), list(indexes.values())
    rows = _ask(connection, "indexes", names=names, tables=tables)
    if missing := [row["name"] for row in rows if not row["is_there"]]:
        are = "index is" if len(missing) == 1 else "indexes are"
        message = f"the {are} missing: {', '.join(missing)}"
        yield Problem("tables", message, UPGRADE, prevents_start=prevents_start)


def _trigger(connection: Connection) -> Iterator[Problem]:
    found = _one(connection, "trigger")
    if found["enabled"] in {"O", "A"} or not _one(connection, "visible", name="tokens_s0"):
        return
    what = "disabled" if found["enabled"] else "missing"
    message = f"the trigger imagegen_notify_detected is {what}: {WAKE_UPS}"
    fix = UPGRADE
    if found["enabled"]:
        fix = "ALTER TABLE tokens_s0 ENABLE TRIGGER imagegen_notify_detected;"
    elif found["may_prepare"]:
        fix = (
            "leave it so if mints use PREPARE TRANSACTION, which fails with it; else set"
            f" max_prepared_transactions = 0, and {UPGRADE}"
        )
    yield Problem("tables", message, fix, prevents_start=False)


def _twins(connection: Connection) -> Iterator[Problem]:
    """Yield a problem if imagegen works on its own empty tokens_s0, and the user's is elsewhere."""
    found = _one(connection, "visible", name="tokens_s0")
    if not found or not found["is_imagegens"]:
        return
    others = [row["table"] for row in _ask(connection, "elsewhere", name="tokens_s0")]
    if others and not connection.execute("SELECT 1 FROM tokens_s0 LIMIT 1").fetchone():
        message = f"imagegen works on {found['schema']}.tokens_s0, which is empty"
        fix = f"put the schema of the right one first: there is {' and '.join(others)}"
        yield Problem("tables", message, fix, prevents_start=False)


def _ask(connection: Connection, statement: str, /, **values: Any) -> list[dict[str, Any]]:
    cursor = connection.cursor(row_factory=dict_row)
    values |= {"ownership": OWNERSHIP_COMMENT}
    text = SQL[statement].encode()
    return cursor.execute(text, values if b"%" in text else None).fetchall()


def _one(connection: Connection, statement: str, /, **values: Any) -> dict[str, Any]:
    """Return the first row; empty if there is none."""
    rows = _ask(connection, statement, **values)
    return rows[0] if rows else {}


def _value(connection: Connection, statement: str) -> Any:
    return next(iter(_one(connection, statement).values()))
