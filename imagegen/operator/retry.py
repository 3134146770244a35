"""New attempts for tokens that failed, or whose images were lost."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from psycopg.rows import class_row

from imagegen.database import Connection, Tables, sql, statement_timeout
from imagegen.failures import FAILURES, Billed, Kind

# Tokens reset in one statement, and the time that it may take on a slow disk.
STEP, STEP_SECONDS = 1000, 30
SQL = sql.load("imagegen.operator", "tokens.sql")


@dataclass(frozen=True)
class TokenSnapshot:
    """A token as it was read: it gets new attempts only if it is still the same."""

    token_id: int
    status: str
    image_url: str | None
    error_kind: str | None

    @property
    def may_be_billed(self) -> bool:
        """Whether Replicate billed an image for it already, or perhaps did."""
        return self.status == "uploading" or (
            self.error_kind in set(Kind) and FAILURES[Kind(self.error_kind)].billed is not Billed.NO
        )


@dataclass(frozen=True)
class RetryPlan:
    """The tokens that get new attempts, and a line for each other token that was named."""

    chosen: list[TokenSnapshot]
    skipped: list[str] = field(default_factory=list)  # they wait or are at work already
    refused: list[str] = field(default_factory=list)

    @property
    def billed(self) -> int:
        """The number of chosen tokens that were billed for an image, or perhaps were."""
        return sum(token.may_be_billed for token in self.chosen)

    @property
    def warnings(self) -> list[str]:
        """What the operator must know before the plan is carried out."""
        again = "had an image that was paid for, or perhaps was: another one will be paid for"
        billed = [f"{self.billed} of these {again}"] if self.billed else []
        return self.skipped + self.refused + billed


def plan_named(connection: Connection, token_ids: Collection[int], *, lost: bool) -> RetryPlan:
    """Plan new attempts for these tokens. `lost`: images that were paid for are lost."""
    with statement_timeout(connection):
        cursor = connection.cursor(row_factory=class_row(TokenSnapshot))
        tokens = cursor.execute(SQL["named"], [list(token_ids)]).fetchall()
    unknown = sorted(set(token_ids) - {token.token_id for token in tokens})
    plan = RetryPlan([], refused=[f"there is no token {token_id}" for token_id in unknown])
    for token in sorted(tokens, key=lambda token: token.token_id):
        line = f"token {token.token_id} is {token.status}"
        match token.status:
            case "failed":
                plan.chosen.append(token)
            case "uploading" if lost:
                plan.chosen.append(token)
            case "uploading":
                plan.refused.append(f"{line}, its image is paid for: --lost pays for another one")
            case "detected" | "generating":
                plan.skipped.append(f"{line} and left alone: its image is on its way")
            case _:
                plan.refused.append(f"{line}: it has left imagegen with its image")
    return plan


def plan_failed(
    connection: Connection, tables: Tables, since: datetime, error_kind: str | None
) -> RetryPlan:
    """Plan new attempts for all tokens that failed since then, with this kind of error if given."""
    query = SQL["failed_since"]
    if error_kind is not None:
        query += f" AND {SQL['with_error_kind']}"
    with statement_timeout(connection):
        cursor = connection.cursor(row_factory=class_row(TokenSnapshot))
        values = {"since": since, "error_kind": error_kind}
        return RetryPlan(cursor.execute(tables.fill(query), values).fetchall())


def retry(connection: Connection, tables: Tables, tokens: Sequence[TokenSnapshot]) -> Iterator[int]:
    """Give new attempts to those of these tokens that are unchanged, in one transaction.

    Yields their number, step by step. Nothing is committed before the last step.
    """
    with statement_timeout(connection, STEP_SECONDS):
        for start in range(0, len(tokens), STEP):
            step = tokens[start : start + STEP]
            values = {
                "token_ids": [token.token_id for token in step],
                "statuses": [token.status for token in step],
                "image_urls": [token.image_url for token in step],
            }
            yield connection.execute(tables.fill(SQL["retry"]), values).rowcount
