"""A problem of the database."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Problem:
    """Something that is wrong with the database, and its fix: a command or what to change."""

    check: Literal[
        "permissions", "migrations", "tables", "columns", "indexes", "encoding", "connections"
    ]
    message: str
    fix: str
    prevents_start: bool = True

    def __str__(self) -> str:
        return f"{self.message}: {self.fix}"
