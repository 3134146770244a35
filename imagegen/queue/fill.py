"""The queue's statements, filled in for the user's tables, and for all tokens or for some."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any
from zlib import crc32

from imagegen.database import Tables, acts, sql

TEXT = files("imagegen.queue").joinpath("queue.sql").read_text(encoding="utf-8")
STATEMENTS = sql.parse(acts.TEXT + TEXT)
# Statements for all tokens but some. `claim_only` and so on are for these tokens alone.
FOR_ALL_BUT = ("claim", "repair_statuses")
PARAMETER = re.compile(r"%\((\w+)\)s|%%")


@dataclass(frozen=True)
class Statement:
    """A statement with psycopg's parameters, and the text and name with which it is prepared."""

    text: str

    @cached_property
    def name(self) -> str:
        """The name of the prepared statement, which differs for other tables."""
        return f"imagegen_{crc32(self.text.encode()):08x}"

    @cached_property
    def numbered(self) -> str:
        """The statement with PostgreSQL's parameters, $1, $2 …"""
        numbers = {name: f"${number}" for number, name in enumerate(self.parameters, 1)}
        return PARAMETER.sub(lambda found: numbers.get(found[1], "%"), self.text)

    @cached_property
    def parameters(self) -> list[str]:
        """The names of $1, $2 …"""
        return list(dict.fromkeys(name for name in PARAMETER.findall(self.text) if name))


def statements(tables: Tables) -> dict[str, Statement]:
    """Return every statement of the queue by name, filled in for these tables."""

    def fill(name: str, but: str) -> Statement:
        more = {"waited_seconds": tables.waited_seconds, "but": but}
        return Statement(tables.fill(STATEMENTS[name], **more))

    only = {f"{name}_only": fill(name, "") for name in FOR_ALL_BUT}
    return {name: fill(name, "NOT") for name in STATEMENTS} | only


def among(
    name: str, values: Mapping[str, Any], busy: Collection[int], only: Collection[int] | None
) -> tuple[str, dict[str, Any]]:
    """Return the name of the statement for all tokens but `busy`, or only for those of `only`; and
    its values."""
    if only is None:
        return name, {**values, "tokens": list(busy)}
    return f"{name}_only", {**values, "tokens": list(only)}
