"""What the database must let imagegen do, and what it does not."""

from dataclasses import dataclass

from imagegen.database.connection import Connection
from imagegen.database.revision import VERSION_TABLE

NEEDED = {
    VERSION_TABLE: ("SELECT",),
    "tokens_s0": ("SELECT", "UPDATE"),
    "authors": ("SELECT",),
    "generations": ("SELECT", "INSERT", "UPDATE"),
}


@dataclass(frozen=True)
class Lacking:
    """What a role may not do with a table."""

    role: str
    privileges: str
    table: str

    def __str__(self) -> str:
        return f"{self.role} may not {self.privileges} on {self.table}"

    @property
    def grant(self) -> str:
        """The mend."""
        return f"GRANT {self.privileges} ON {self.table} TO {self.role};"


def lacking(connection: Connection) -> list[Lacking]:
    """Of the tables that are there; the privilege on a column is one."""
    found = []
    for table, needed in NEEDED.items():
        row = connection.execute(
            """SELECT quote_ident(current_user), string_agg(p, ', ')
               FROM unnest(%s::text[]) p
               WHERE NOT has_any_column_privilege(current_user, to_regclass(%s), p)""",
            [list(needed), table],
        ).fetchone()
        if row and row[1]:
            found.append(Lacking(role=row[0], privileges=row[1], table=table))
    return found
