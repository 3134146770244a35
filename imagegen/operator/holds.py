"""Holds on single tokens: a token that is held is not claimed until it is released.

A hold is `generate_after = 'infinity'`, which every worker obeys, and a row of `imagegen_acts`.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Literal

from psycopg import Cursor
from psycopg.rows import class_row

from imagegen.database import Connection, Tables, queue_stats, sql, statement_timeout
from imagegen.operator import acts

TEXT = files("imagegen.operator").joinpath("holds.sql").read_text(encoding="utf-8")
SQL = sql.parse(queue_stats.TEXT + TEXT)

Verb = Literal["hold", "release"]


@dataclass(frozen=True)
class TokenState:
    """What decides whether a token can be held or released."""

    token_id: int
    status: str | None
    is_held: bool
    is_at_work: bool  # it has an open generation

    @property
    def obstacle(self) -> str | None:
        """Why it cannot be held; None if it can be or is held."""
        only = "only a token that waits can be held"
        if self.is_at_work or self.status == "generating":
            return f"token {self.token_id} is being generated: {only}"
        if self.status != "detected":
            return f"token {self.token_id} is {self.status}: {only}"
        return None


@dataclass(frozen=True)
class Held:
    """The tokens that were held or released, and a line for each of the others."""

    changed: list[int] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)  # held already, or not held
    refused: list[str] = field(default_factory=list)


def change(
    connection: Connection,
    tables: Tables,
    verb: Verb,
    token_ids: Collection[int],
    reason: str | None,
) -> Held:
    """Hold tokens that wait, or release tokens that are held, and return which were changed.

    A token that is at work or has ended cannot be held: its line is in `refused`.
    """
    values = {"token_ids": list(token_ids), "who": acts.who(), "act": verb, "reason": reason}
    with statement_timeout(connection):
        rows = connection.execute(tables.fill(SQL[verb]), values).fetchall()
        acts.wake(connection)
    result = Held(sorted(token_id for (token_id,) in rows))
    for token_id, state in _others(connection, tables, token_ids, result.changed).items():
        if state is None:
            result.refused.append(f"there is no token {token_id}")
        elif verb == "release":
            result.skipped.append(f"token {token_id} is not held: it is {state.status}")
        elif state.obstacle:
            result.refused.append(state.obstacle)
        elif state.is_held:
            result.skipped.append(f"token {token_id} is held already")
        else:
            result.refused.append(f"token {token_id} has changed meanwhile: try again")
    return result


def _others(
    connection: Connection, tables: Tables, token_ids: Collection[int], changed: Collection[int]
) -> dict[int, TokenState | None]:
    """Return the tokens that were not changed, in order; None for one that is not there."""
    others = sorted({*token_ids} - {*changed})
    with statement_timeout(connection):
        rows = ask_states(connection, tables, others).fetchall()
    return dict.fromkeys(others) | {row.token_id: row for row in rows}


def ask_states(
    connection: Connection, tables: Tables, token_ids: Collection[int]
) -> Cursor[TokenState]:
    """Ask for the states of these tokens; the cursor has them."""
    cursor = connection.cursor(row_factory=class_row(TokenState))
    return cursor.execute(tables.fill(SQL["states"]), {"token_ids": list(token_ids)})
