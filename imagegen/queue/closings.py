"""Closes generations, and keeps decisions that the database refuses to write.

A column, a constraint or a trigger of the user's table may refuse one row, or every row.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import psycopg
from psycopg.errors import DivisionByZero
from psycopg.types.json import Jsonb

from imagegen.database import BoundedConnection
from imagegen.queue.execution import execute
from imagegen.queue.fill import Statement
from imagegen.queue.values import Complete, Decision, FailAttempt, Requeue, UseFallback
from imagegen.text import one_line

# The statements that close a generation and change its token.
VERBS: dict[type[Decision], str] = {
    Complete: "complete",
    FailAttempt: "fail_attempt",
    Requeue: "requeue",
}
DECISIONS = {each.__name__: each for each in (Complete, FailAttempt, Requeue, UseFallback)}

# Columns of a generation that a worker has recorded before its end.
RECORDED = ("requested_at", "prompt", "account", "prediction_id")
# Columns of `generations` with the same name as a field of a decision.
OWN = ("url", "predict_seconds", "images", "cost", "path", "sha256", "handed_on", "kind")

# The most characters of an error in both tables.
ERROR_CHARACTERS = 1000
# A column may take less of an error than its type allows, because of a CHECK or a trigger. An error
# of fewer characters than this says nothing.
FEWEST_CHARACTERS = 16

# A token that is refused again and again while others pass waits for 2, 4, 8 … s.
OWN_DELAY_SECONDS = 2.0
LONGEST_OWN_DELAY_SECONDS = 600.0

# The bounds of when a refused closing is tried again. Replicate deletes the image after an hour.
SHORTEST_DELAY_SECONDS = 15.0
LONGEST_DELAY_SECONDS = 300.0

DISCARDED = "tokens_s0 takes the change without an error and does not make it: a trigger"


class ClosingRefusedError(Exception):
    """The database refuses to close a generation; the message is the database's."""


def why_refused(error: psycopg.Error) -> str:
    """Return the database's message in one line, without the values of the row."""
    return " ".join((error.diag.message_primary or one_line(error)).split())


def errors_of(decision: Decision, characters: int | None) -> Iterator[str | None]:
    """Yield the error of a decision, at most `characters` of it, then half of that, and so on, in
    case the column takes less. Yield None for a decision without an error."""
    message: str | None = getattr(decision, "message", None)
    if message is None:
        yield None
        return
    length = min(len(message), characters or ERROR_CHARACTERS, ERROR_CHARACTERS)
    yield message[:length]
    while (length := length // 2) >= FEWEST_CHARACTERS:
        yield message[:length]


def values_of(
    decision: Decision, error: str | None, give_up_after_seconds: float
) -> dict[str, Any]:
    """Return the parameters of the statement that writes a decision."""
    values = asdict(decision)
    if error is not None:
        values |= {"message": values["message"][:ERROR_CHARACTERS], "error": error}
    if isinstance(decision, Requeue):
        values |= {
            "own_seconds": OWN_DELAY_SECONDS if decision.escalates else 0.0,
            "own_most_seconds": LONGEST_OWN_DELAY_SECONDS,
            "give_up_after_seconds": give_up_after_seconds,
        }
    return values


def close(
    connection: BoundedConnection,
    decision: Decision,
    statements: Mapping[str, Statement],
    values: Mapping[str, Any],
) -> dict[str, Any] | None:
    """Close a generation, and return the fields of its `Applied`. None: the lease is lost.

    Raises ClosingRefusedError, and changes nothing, if a trigger discards the token's change.
    """
    verb = statements[VERBS[type(decision)]]
    try:
        closed, _ = execute(connection, [verb, statements["discarded"]], values)
    except DivisionByZero as error:
        if error.diag.context:  # in a trigger
            raise
        raise ClosingRefusedError(DISCARDED) from None
    return closed[0] if closed else None


def kept_values(decision: Decision, why: str) -> dict[str, Any]:
    """Return the parameters of `keep`."""
    values = asdict(decision)
    message = values.get("message")
    return {
        **{name: values.get(name) for name in OWN},
        "kind": values.get("kind") or values.get("reason"),
        "message": message and message[:ERROR_CHARACTERS],
        "closing": Jsonb({"decision": type(decision).__name__, **values}),
        "why": why,
        "shortest_seconds": SHORTEST_DELAY_SECONDS,
        "longest_seconds": LONGEST_DELAY_SECONDS,
    }


def from_json(value: Mapping[str, Any] | None) -> Decision | None:
    """Return the decision that was kept; None if there is none, or one of another version."""
    fields = dict(value or {})
    try:
        return DECISIONS[fields.pop("decision")](**fields)
    except (KeyError, TypeError):
        return None
