"""Tokens and their generations, for `imagegen tokens list` and `show`."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg.rows import class_row, kwargs_row

from imagegen.database import Connection, Tables, sql, statement_timeout
from imagegen.operator.acts import Act, ask_of_token

# A token that Replicate refused for a day has thousands of generations.
GENERATIONS_SHOWN = 200
SQL = sql.load("imagegen.operator", "tokens.sql")


@dataclass(frozen=True)
class Token:
    """A row of `tokens_s0` with its author. Times are ISO 8601 in UTC, or infinity."""

    token_id: int | None
    author: str | None  # the wallet
    author_prompt: str | None
    status: str | None  # in lower case
    created_at: str | None
    age_seconds: float | None  # None if the recorded time of its mint is not finite
    generation_attempts: int | None
    generation_error: str | None
    generate_after: str | None
    image_url: str | None
    error_kind: str | None  # of its newest generation

    @property
    def is_held(self) -> bool:
        """Whether an operator holds it back until it is released."""
        return self.status == "detected" and self.generate_after == "infinity"

    @property
    def state(self) -> str | None:
        """Its status, and whether it is held."""
        return f"{self.status}, held" if self.is_held else self.status


@dataclass(frozen=True)
class Generation:
    """A row of `generations`. Times are ISO 8601 in UTC, or infinity."""

    id: int
    attempt: int
    state: str
    error_kind: str | None
    error_message: str | None
    prompt: str | None  # as sent
    fallback: bool
    model: str
    seed: int
    prediction_id: str | None
    opened_at: str
    requested_at: str | None
    closed_at: str | None
    duration_seconds: float  # from its claim to its end, or to now
    predict_seconds: float | None
    images: int | None
    cost: str | None  # dollars
    image_url: str | None
    image_path: str | None
    image_sha256: str | None
    handed_on_url: str | None  # if it is not image_url
    worker: str | None
    lease_until: str
    refusals: int
    refused_since: str | None
    closing_error: str | None  # why its end cannot be written to the token, or could not
    closing_refused_at: str | None  # the first time

    @property
    def refusal(self) -> str | None:
        """Why its end cannot be written to the token, and since when; None if it can, or was."""
        if self.closed_at or self.closing_refused_at is None:
            return None
        since = self.closing_refused_at[:19].replace("T", " ")
        return f"by tokens_s0 since {since} UTC: {self.closing_error}"


@dataclass(frozen=True)
class TokenHistory:
    """A token, if it is still there, and its newest generations, the oldest of them first."""

    token: Token | None
    generations: list[Generation]
    is_truncated: bool  # there are older generations
    acts: list[Act] = field(default_factory=list)  # of operators, the oldest of them first


class UnknownStatusError(Exception):
    """No token can have this status; the message ends the sentence `--status must be …`."""


def list_tokens(
    connection: Connection,
    tables: Tables,
    *,
    statuses: Collection[str] = (),
    author: str | None = None,
    older: datetime | None = None,
    newer: datetime | None = None,
    error_kind: str | None = None,
    limit: int,
) -> list[Token]:
    """Return the newest tokens that fit all filters, minted between `newer` and `older`.

    Raises UnknownStatusError.
    """
    values = {"author": author, "older": older, "newer": newer, "error_kind": error_kind}
    conditions = ["true"]
    if statuses:
        conditions.append(_with_statuses(connection, tables, statuses))
    conditions += [SQL[f"with_{name}"] for name, value in values.items() if value is not None]
    filters = tables.fill(" AND ".join(conditions))
    query = tables.fill(SQL["list"], filters=filters)
    more = {"statuses": list(statuses), "limit": limit}
    with statement_timeout(connection):
        cursor = connection.cursor(row_factory=kwargs_row(_token))
        return cursor.execute(query, values | more).fetchall()


def _with_statuses(connection: Connection, tables: Tables, statuses: Collection[str]) -> str:
    """Return SQL for one of these statuses. Raises UnknownStatusError.

    imagegen's own statuses are literals, because they have an index. Others are the user's.
    """
    if tables.labels.keys() >= set(statuses):
        return f"t.status IN ({', '.join(tables.labels[name] for name in statuses)})"
    with statement_timeout(connection):
        found = connection.execute(SQL["statuses"]).fetchall()
    known = {status for (status,) in found} | tables.labels.keys()
    if unknown := sorted(set(statuses) - known):
        raise UnknownStatusError(f"one of {', '.join(sorted(known))}, not {unknown[0]!r}")
    return SQL["with_statuses"]


def _token(token_id: int | Decimal | None, **columns: Any) -> Token:
    """Return a token. The user's column may be numeric, and hold NaN or infinity."""
    is_number = isinstance(token_id, int) or (token_id is not None and token_id.is_finite())
    return Token(int(token_id) if token_id is not None and is_number else None, **columns)


def read_history(connection: Connection, tables: Tables, token_id: int) -> TokenHistory:
    """Return a token and its generations, which are kept when the token is deleted."""
    with statement_timeout(connection):
        return ask_history(connection, tables, token_id)()


def ask_history(
    connection: Connection, tables: Tables, token_id: int
) -> Callable[[], TokenHistory]:
    """Ask for a token and its generations. The function that is returned reads the answers."""
    token = connection.cursor(row_factory=kwargs_row(_token))
    token.execute(tables.fill(SQL["show"]), [token_id])
    generations = connection.cursor(row_factory=class_row(Generation))
    generations.execute(SQL["generations"], [token_id, GENERATIONS_SHOWN + 1])
    acts = ask_of_token(connection, token_id)

    def answer() -> TokenHistory:
        newest = generations.fetchall()
        shown = newest[:GENERATIONS_SHOWN][::-1]
        return TokenHistory(
            token.fetchone(), shown, len(newest) > len(shown), acts.fetchall()[::-1]
        )

    return answer
