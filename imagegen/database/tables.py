"""The user's tables as they are: labels of the status, times with a zone or without."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from string import Template

import psycopg

from imagegen.database.columns import characters
from imagegen.database.connection import Connection
from imagegen.database.revision import NotMigratedError

# In the order of a token's life.
STATUSES = ("detected", "generating", "uploading", "failed")
# The SQLSTATE of a statement that does not fit the tables as they are now, or its first two digits:
# a migration has moved or changed them. In order: a name, type, index or privilege is missing; a
# schema is; a view is in a table's place; a table was dropped meanwhile; a label is gone.
MISFIT_CLASSES, MISFITS = {"42", "3F", "0A"}, {"XX000", "22P02"}
BRING_BACK = "bring it back, or put its schema into search_path"
ADD_LABELS = "ALTER TYPE … ADD VALUE '…', for each label that it lacks"


class TablesAwayError(psycopg.OperationalError):
    """The tables are not as they were read: a migration or the restore of a table may be at work.

    Wait as for a database that is away, and read them again.
    """


@contextmanager
def away_if_changed() -> Iterator[None]:
    """Raise TablesAwayError in place of the error of a statement that does not fit the tables."""
    try:
        yield
    except NotMigratedError as error:
        raise TablesAwayError(str(error)) from error
    except psycopg.Error as error:
        state = error.sqlstate or ""
        # An error with a context comes from a function, such as a trigger's, and may be one row's.
        if (state[:2] in MISFIT_CLASSES or state in MISFITS) and not error.diag.context:
            raise TablesAwayError(error.diag.message_primary or str(error)) from error
        raise


@dataclass(frozen=True)
class Tables:
    """The user's tables: the status is an enum or text, times have a zone or none."""

    labels: dict[str, str]  # SQL literals by status: a parameter would lose the partial index
    created_at_is_naive: bool
    error_characters: int | None = None  # the width of generation_error, if it has one

    @property
    def minted_at(self) -> str:
        """SQL for the time of the mint, as timestamptz."""
        return "t.created_at AT TIME ZONE 'UTC'" if self.created_at_is_naive else "t.created_at"

    @property
    def waited_seconds(self) -> str:
        """SQL for the seconds since the mint; 0 if it was at no finite time.

        One such row of an adopted table must not keep other tokens waiting.
        """
        return f"""CASE WHEN isfinite(t.created_at)
                THEN extract(epoch FROM now() - {self.minted_at})::float ELSE 0 END"""

    def fill(self, sql: str, **more: object) -> str:
        """Return the SQL with $minted_at, the labels $detected … and `more` filled in."""
        return Template(sql).substitute(self.labels, minted_at=self.minted_at, **more)


def read_tables(connection: Connection) -> Tables:
    """Read how `tokens_s0` is defined. Raises NotMigratedError if imagegen cannot use it."""
    columns: dict[str, str] = dict(
        connection.execute(
            """SELECT attname, format_type(atttypid, NULL) FROM pg_attribute
               WHERE attrelid = to_regclass('tokens_s0') AND attnum > 0 AND NOT attisdropped"""
        ).fetchall()
    )
    if "status" not in columns or "created_at" not in columns:
        raise NotMigratedError("there is no table tokens_s0 with status and created_at", BRING_BACK)
    enum_labels = connection.execute(
        """SELECT lower(enumlabel), enumlabel FROM pg_enum JOIN pg_attribute ON atttypid = enumtypid
           WHERE attrelid = to_regclass('tokens_s0') AND attname = 'status'"""
    ).fetchall()
    column_type = columns["status"]
    labels: dict[str, str] = dict(enum_labels or zip(STATUSES, STATUSES, strict=True))
    if missing := [status for status in STATUSES if status not in labels]:
        raise NotMigratedError(
            f"tokens_s0.status, of type {column_type}, lacks {', '.join(missing)}", ADD_LABELS
        )
    return Tables(
        labels={status: f"'{labels[status]}'::{column_type}" for status in STATUSES},
        created_at_is_naive=columns["created_at"] == "timestamp without time zone",
        error_characters=characters(connection, "generation_error"),
    )
