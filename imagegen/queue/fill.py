"""The queue's statements, filled in for the user's tables, and for all tokens or for some."""

from collections.abc import Collection, Mapping
from typing import Any

from imagegen.database import Tables, sql

STATEMENTS = sql.load("imagegen.queue", "queue.sql")
# These pass over the tokens that they are given; `claim_only` and so on are for these alone.
FOR_ALL_BUT = ("claim", "repair_statuses")


def statements(tables: Tables) -> dict[str, str]:
    """Return every statement of the queue by name, for the tables that are there."""

    def fill(name: str, but: str) -> str:
        return tables.fill(STATEMENTS[name], waited_seconds=tables.waited_seconds, but=but)

    only = {f"{name}_only": fill(name, "") for name in FOR_ALL_BUT}
    return {name: fill(name, "NOT") for name in STATEMENTS} | only


def among(
    name: str, values: Mapping[str, Any], busy: Collection[int], only: Collection[int] | None
) -> tuple[str, dict[str, Any]]:
    """Return the name of a statement for all tokens but `busy` ones, or for `only` these, and its
    values."""
    if only is None:
        return name, {**values, "tokens": list(busy)}
    return f"{name}_only", {**values, "tokens": list(only)}
