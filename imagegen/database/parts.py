"""The parts of the schema that migrations make if they are missing, and drop if they are there.

So every migration can run again on a database that has lost some parts, and makes only these. A
name that is taken by something else is refused. Nothing is locked if there is nothing to do.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from alembic import op

from imagegen.database import schema
from imagegen.database.migrations import SchemaError
from imagegen.database.schema import OWNERSHIP_COMMENT

LEDGER = "generations"
SET_ASIDE = "CREATE SCHEMA set_aside; ALTER TABLE {table} SET SCHEMA set_aside;"


def query(sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in op.get_bind().exec_driver_sql(sql)]


def exists(table: str) -> bool:
    return bool(query(f"SELECT to_regclass('{table}') IS NOT NULL")[0][0])


def columns(table: str) -> dict[str, str | None]:
    """Return the columns of a table with their comments; none if there is no such table."""
    rows = query(
        f"""SELECT attname, col_description(attrelid, attnum) FROM pg_attribute
            WHERE attrelid = to_regclass('{table}') AND attnum > 0 AND NOT attisdropped"""
    )
    return {str(name): comment for name, comment in rows}


def is_imagegens(table: str) -> bool:
    """Return whether imagegen made a table."""
    ((comment,),) = query(f"SELECT obj_description(to_regclass('{table}'), 'pg_class')")
    return bool(comment == OWNERSHIP_COMMENT)


def has_ledger() -> bool:
    """Return whether `generations` is there, and is imagegen's."""
    driver: Any = op.get_bind().connection.driver_connection
    return schema.has_ledger(driver)


def create_table(
    table: str, definitions: Mapping[str, str], constraints: Mapping[str, str]
) -> None:
    """Make a table of imagegen's own, or the columns and constraints that it lacks. Raises
    SchemaError."""
    if not (has_ledger() if table == LEDGER else exists(table)):
        op.execute(f"CREATE TABLE {table} ()")  # also if a later schema of search_path has one
    if not is_imagegens(table):  # an older version made it without the comment
        op.execute(f"COMMENT ON TABLE {table} IS '{OWNERSHIP_COMMENT}'")
    add_columns(table, definitions)
    there = query(f"SELECT conname FROM pg_constraint WHERE conrelid = to_regclass('{table}')")
    for name, definition in constraints.items():
        if (name,) not in there:
            _is_there(name, table)
            op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")


def add_columns(table: str, definitions: Mapping[str, str], comment: str = "") -> None:
    """Add the columns that a table lacks, with a comment on each. Raises SchemaError."""
    there = columns(table)
    missing = {name: text for name, text in definitions.items() if name not in there}
    lost = [name for name, text in missing.items() if text.endswith("NOT NULL")]
    if lost and query(f"SELECT FROM {table} LIMIT 1"):
        raise SchemaError(
            f"{table} has lost {', '.join(lost)}, which its rows cannot be without",
            f"restore the table from a backup, or begin anew: {SET_ASIDE.format(table=table)}",
        )
    for name, definition in missing.items():
        op.execute(f"ALTER TABLE {table} ADD COLUMN {name} {definition}")
        if comment:
            op.execute(f"COMMENT ON COLUMN {table}.{name} IS '{comment}'")


def drop_columns(table: str, names: Iterable[str]) -> None:
    for name in columns(table).keys() & set(names):
        op.execute(f"ALTER TABLE {table} DROP COLUMN {name}")


def create_index(name: str, table: str, definition: str, *, unique: bool = False) -> None:
    """Make an index. One that is invalid, or wrongly (not) unique, is replaced. Raises
    SchemaError."""
    if _is_there(name, table):
        wanted = f"i.indisvalid AND i.indisunique = {unique}"
        if query(f"SELECT FROM pg_index i WHERE indexrelid = to_regclass('{name}') AND {wanted}"):
            return
        drop_indexes(table, name)
    op.execute(f"CREATE {'UNIQUE ' * unique}INDEX {name} ON {table} {definition}")


def drop_indexes(table: str, *names: str) -> None:
    """Drop those of these indexes that the table has."""
    rows = query(
        f"""SELECT indexrelid::regclass, relname FROM pg_index JOIN pg_class ON oid = indexrelid
            WHERE indrelid = to_regclass('{table}')"""
    )
    for index, name in rows:
        if name in names:
            op.execute(f"DROP INDEX {index}")


def _is_there(index: str, table: str) -> bool:
    """Return whether a table has the index. Raises SchemaError if the name is another's."""
    rows = query(
        f"""SELECT i.indrelid IS NOT DISTINCT FROM t.oid, coalesce(i.indrelid, c.oid)::regclass
            FROM pg_class t JOIN pg_class c USING (relnamespace)
            LEFT JOIN pg_index i ON i.indexrelid = c.oid
            WHERE t.oid = to_regclass('{table}') AND c.relname = '{index}'"""
    )
    for is_of_table, other in rows:
        if not is_of_table:
            raise SchemaError(f"the name {index} is taken by {other}", "rename that")
    return bool(rows)
