"""Acts of operators that bind the workers of all hosts, each recorded with operator and time."""

import json
import os
import pwd
import socket
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from importlib.resources import files
from typing import Any

from psycopg import Cursor
from psycopg.rows import class_row, dict_row

from imagegen.database import NOTIFY_CHANNEL, Connection, acts, sql, statement_timeout
from imagegen.text import printable

TEXT = files("imagegen.operator").joinpath("acts.sql").read_text(encoding="utf-8")
SQL = sql.parse(acts.TEXT + TEXT)
# As many as fit on a screen.
ACTS_SHOWN = 5
ACTS_OF_TOKEN_SHOWN = 50


@dataclass(frozen=True)
class Act:
    """A row of `imagegen_acts`. Times are ISO 8601 in UTC."""

    at: str
    who: str
    act: str
    token_id: int | None  # None: of all tokens
    reason: str | None
    until: str | None
    details: dict[str, Any] | None

    def __str__(self) -> str:
        """Return time, operator, act and reason in one line."""
        return printable(f"{acts.moment(self.at)}  {self.who}  {self.what}")

    @property
    def what(self) -> str:
        """The act, its details and its reason."""
        what = self.act if self.token_id is None else f"{self.act} token {self.token_id}"
        details = ", ".join(f"{name} {value}" for name, value in (self.details or {}).items())
        parts = [what, details]
        parts += [f"until {acts.moment(self.until)}"] if self.until else []
        why = f": {self.reason}" if self.reason else ""
        return ", ".join(filter(None, parts)) + why


@dataclass(frozen=True)
class PauseState:
    """The pause that holds, if there is one, and how many predictions are in flight."""

    pause: acts.Pause | None
    in_flight: int


def who() -> str:
    """Return the user and the host of this process. The database adds the role."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # in a container, a user need have no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def read_pause(connection: Connection) -> PauseState:
    """Return the pause that holds now. Raises one of database.AWAY."""
    with statement_timeout(connection):
        row = connection.cursor(row_factory=dict_row).execute(SQL["read_pause"]).fetchone()
    assert row is not None  # noqa: S101 (a SELECT without FROM has a row)
    return PauseState(acts.Pause(**row["pause"]) if row["pause"] else None, row["in_flight"])


def pause(connection: Connection, reason: str, for_seconds: float | None) -> None:
    """Pause all hosts: from now on nothing new is claimed or sent.

    The pause ends after `for_seconds`; None: at `resume`.
    """
    _record(connection, "pause", reason, for_seconds)


def resume(connection: Connection, reason: str | None) -> None:
    """End a pause."""
    _record(connection, "resume", reason)


def _record(
    connection: Connection, act: str, reason: str | None, for_seconds: float | None = None
) -> None:
    values = {"who": who(), "act": act, "reason": reason, "for_seconds": for_seconds}
    with statement_timeout(connection):
        connection.execute(SQL["record"], values | {"details": None})
        wake(connection)


def wake(connection: Connection) -> None:
    """Wake the workers when this transaction is committed.

    Those that do not listen notice it at their next poll.
    """
    connection.execute(SQL["wake"], [NOTIFY_CHANNEL])


def read_limits(connection: Connection) -> tuple[acts.Limits, Act | None]:
    """Return the limits that operators have set, and the newest change of them."""
    with statement_timeout(connection):
        changes = _newest(connection, "newest_of_limits", limit=1)
        row = connection.execute(SQL["read_limits"]).fetchone()
    return acts.Limits.of(row[0] if row else None), changes[0] if changes else None


def set_limits(
    connection: Connection,
    values: Mapping[str, int | str],
    unset: Collection[str],
    reason: str | None,
) -> None:
    """Set these limits on all hosts, and leave those of `unset` to the settings again."""
    details = {"set": json.dumps(values), "unset": list(unset)}
    with statement_timeout(connection):
        connection.execute(SQL["set_limits"], {"who": who(), "reason": reason, **details})
        wake(connection)


def price_of_last(connection: Connection) -> Decimal | None:
    """Return the dollars that the last prediction may have cost; None if no price is on record."""
    with statement_timeout(connection):
        row = connection.execute(SQL["price_of_last"]).fetchone()
    return row[0] if row else None


def newest(connection: Connection) -> list[Act]:
    """Return the last acts of operators, the newest first."""
    with statement_timeout(connection):
        return _newest(connection, "newest", limit=ACTS_SHOWN)


def ask_of_token(connection: Connection, token_id: int) -> Cursor[Act]:
    """Ask for the acts on a token, the newest first; the cursor has them."""
    return _ask(connection, "newest_of_token", token_id=token_id, limit=ACTS_OF_TOKEN_SHOWN)


def _newest(connection: Connection, name: str, **values: int) -> list[Act]:
    return _ask(connection, name, **values).fetchall()


def _ask(connection: Connection, name: str, **values: int) -> Cursor[Act]:
    return connection.cursor(row_factory=class_row(Act)).execute(SQL[name], values)
