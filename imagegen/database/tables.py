"""The user's tables as they are: labels of the status, times with a zone or without, token ids."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from string import Template

import psycopg

from imagegen.database import sql
from imagegen.database.columns import characters
from imagegen.database.connection import AWAY, Connection
from imagegen.database.revision import NotMigratedError

# In the order of a token's life.
STATUSES = ("detected", "generating", "uploading", "failed")
# The SQLSTATE of a statement that does not fit the tables any more, or its first two digits: a
# migration has moved or changed them. In order: a name, type, index or privilege is missing; a
# schema is missing; a table has become a view; a table was dropped during the statement; a label is
# missing.
MISFIT_CLASSES, MISFITS = {"42", "3F", "0A"}, {"XX000", "22P02"}
BRING_BACK = "bring it back, or put its schema into search_path"
ADD_LABELS = "ALTER TYPE … ADD VALUE '…', for each label that it lacks"
# How an application may write a status: SQLAlchemy writes an enum's names, mostly in capitals.
STYLES = (str.lower, str.upper, str.capitalize)
LABELS = [tuple(style(status) for status in STATUSES) for style in STYLES]
SQL = sql.load("imagegen.database", "tables.sql")

# A number outside bigint, or with a fraction, is no token's id. It becomes NULL, which equals
# nothing, and so no cast of it can fail.
WHOLE_NUMBER = """CASE WHEN t.token_id BETWEEN -9223372036854775808 AND 9223372036854775807
            AND t.token_id = trunc(t.token_id) THEN t.token_id::bigint END"""


class TablesAwayError(psycopg.OperationalError):
    """The tables differ from how they were read: a migration or a restore may be running.

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
    token_id_is_numeric: bool = False
    # SQL literals of the statuses in another case; imagegen does not work on such tokens.
    misspelt: tuple[str, ...] = ()
    # No row, default or CHECK shows yet in which case the application writes a status.
    is_case_assumed: bool = False
    status_may_be_null: bool = False

    @property
    def minted_at(self) -> str:
        """SQL for the time of the mint, as timestamptz."""
        return "t.created_at AT TIME ZONE 'UTC'" if self.created_at_is_naive else "t.created_at"

    @property
    def waited_seconds(self) -> str:
        """SQL for the seconds since the mint; 0 if its time is infinite.

        One such row must not fail the statement for other tokens.
        """
        return f"""CASE WHEN isfinite(t.created_at)
                THEN extract(epoch FROM now() - {self.minted_at})::float ELSE 0 END"""

    @property
    def token_id(self) -> str:
        """SQL for the token's id as an integer; NULL if it is none."""
        return WHOLE_NUMBER if self.token_id_is_numeric else "t.token_id"

    def fill(self, sql: str, **more: object) -> str:
        """Return the SQL with $minted_at, $token_id, the labels $detected … and `more` filled
        in."""
        return Template(sql).substitute(
            self.labels,
            minted_at=self.minted_at,
            token_id=self.token_id,
            misspelt=", ".join(self.misspelt) or "NULL",
            status_is_null="t.status IS NULL" if self.status_may_be_null else "false",
            **more,
        )


def read_tables(connection: Connection) -> Tables:
    """Read how `tokens_s0` is defined. Raises NotMigratedError if imagegen cannot use it."""
    columns = {name: more for name, *more in connection.execute(SQL["columns"])}
    if "status" not in columns or "created_at" not in columns:
        raise NotMigratedError("there is no table tokens_s0 with status and created_at", BRING_BACK)
    type_, _, category, may_be_null = columns["status"]
    if category not in ("E", "S"):
        raise NotMigratedError(
            f"tokens_s0.status is of type {type_}", "make it text, or an enum of the statuses"
        )
    usable = _labels_of_enum(connection) if category == "E" else _labels_of_text(connection)
    chosen, is_assumed = usable[0], False
    if len(usable) > 1:
        chosen, is_assumed = _chosen(connection, usable)
    others = {label for labels in usable for label in labels} - {*chosen}
    return Tables(
        labels={
            status: f"'{label}'::{type_}" for status, label in zip(STATUSES, chosen, strict=True)
        },
        created_at_is_naive=columns["created_at"][0] == "timestamp without time zone",
        token_id_is_numeric=columns.get("token_id", [None, None])[1] == "numeric",
        misspelt=tuple(f"'{label}'::{type_}" for label in sorted(others)),
        is_case_assumed=is_assumed,
        status_may_be_null=may_be_null,
        error_characters=characters(connection, "generation_error"),
    )


def _labels_of_enum(connection: Connection) -> list[tuple[str, ...]]:
    """Return the ways to write the statuses that an enum has. Raises NotMigratedError."""
    rows = connection.execute(SQL["enum_labels"]).fetchall()
    there = {label for label, _ in rows}
    if usable := [labels for labels in LABELS if there.issuperset(labels)]:
        return usable
    by_status: dict[str, str] = {label.lower(): label for label in there}
    if missing := [status for status in STATUSES if status not in by_status]:
        message = f"tokens_s0.status, of type {rows[0][1]}, lacks {', '.join(missing)}"
        raise NotMigratedError(message, ADD_LABELS)
    return [tuple(by_status[status] for status in STATUSES)]


def _labels_of_text(connection: Connection) -> list[tuple[str, ...]]:
    """Return the ways to write the statuses that the column's type and its CHECKs accept.

    Raises NotMigratedError if there is none.
    """
    type_, checks = connection.execute(SQL["status_checks"]).fetchone() or ("text", [])
    refused = {labels: _refused(connection, labels, type_, checks) for labels in LABELS}
    if usable := [labels for labels in LABELS if not refused[labels]]:
        return usable
    labels = min(LABELS, key=lambda each: len(refused[each]))
    longest = max(map(len, STATUSES))
    raise NotMigratedError(
        f"tokens_s0.status, of type {type_}, cannot be {', '.join(refused[labels])}",
        f"let its CHECK allow that, and make it text, or at least varchar({longest})",
    )


def _refused(
    connection: Connection, labels: tuple[str, ...], type_: str, checks: list[str]
) -> list[str]:
    """Return the labels that cannot be stored: a cast to a narrow type truncates them."""
    conditions = "".join(f" AND coalesce(({check}), true)" for check in checks)
    query = f"""SELECT label FROM (
                    SELECT label, label::{type_} AS status
                    FROM unnest(ARRAY{list(labels)}::text[]) label) tokens_s0
                WHERE NOT (status::text = label {conditions})"""
    try:
        with connection.transaction():
            return [label for (label,) in connection.execute(query.encode())]
    except AWAY:
        raise
    except psycopg.Error:  # of a domain, or of a function in a CHECK
        return list(labels)


def _chosen(connection: Connection, usable: list[tuple[str, ...]]) -> tuple[tuple[str, ...], bool]:
    """Return one of several ways to write the statuses, and whether it is only assumed.

    Rows decide. If they have several ways or none, the index that `db upgrade` made decides, or the
    column's default.
    """
    row = connection.execute(SQL["status_hints"]).fetchone()
    hints = [hint for hint in row or () if hint]
    found = [
        labels
        for labels in usable
        if connection.execute(SQL["has_status"], [list(labels)]).fetchone() == (True,)
    ]
    for hint in hints:
        for labels in found or usable:
            if f"'{labels[0]}'" in hint:
                return labels, not found
    return (found or usable)[0], not found
