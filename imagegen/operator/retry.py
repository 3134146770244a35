"""New attempts for tokens that failed, or whose images were lost."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg.rows import class_row

from imagegen.database import Connection, Tables, statement_timeout
from imagegen.failures import FAILURES, Billed, Kind
from imagegen.operator.tokens import ENDED_WITH_KIND, NEWEST_KIND

# So many get new attempts in one statement, which may take so long where a disk is busy.
STEP, STEP_SECONDS = 1000, 30


@dataclass(frozen=True)
class Seen:
    """A token as it looked: it gets new attempts only while it looks the same."""

    token_id: int
    status: str
    image_url: str | None
    error_kind: str | None

    @property
    def may_be_paid_for(self) -> bool:
        """Whether Replicate billed an image already, or perhaps did."""
        return self.status == "uploading" or (
            self.error_kind in set(Kind) and FAILURES[Kind(self.error_kind)].billed is not Billed.NO
        )


@dataclass(frozen=True)
class Choice:
    """Which tokens get new attempts, and a line for each other one that was named."""

    chosen: list[Seen]
    left_alone: list[str] = field(default_factory=list)  # they wait or are at work: no harm done
    refused: list[str] = field(default_factory=list)

    @property
    def paid_for(self) -> int:
        """For how many of the chosen ones Replicate billed an image already, or perhaps did."""
        return sum(token.may_be_paid_for for token in self.chosen)

    @property
    def told(self) -> list[str]:
        """What the operator is to know first."""
        again = "had an image that was paid for, or perhaps was: another one will be paid for"
        count = self.paid_for
        return self.left_alone + self.refused + ([f"{count} of these {again}"] if count else [])


def choose_named(connection: Connection, token_ids: Collection[int], *, lost: bool) -> Choice:
    """What is to become of these tokens; `lost` says that images paid for are lost."""
    with statement_timeout(connection):
        cursor = connection.cursor(row_factory=class_row(Seen))
        seen = cursor.execute(SEEN + " WHERE t.token_id = ANY(%s)", [list(token_ids)]).fetchall()
    unknown = sorted(set(token_ids) - {token.token_id for token in seen})
    choice = Choice([], refused=[f"there is no token {token_id}" for token_id in unknown])
    for token in sorted(seen, key=lambda token: token.token_id):
        told = f"token {token.token_id} is {token.status}"
        match token.status:
            case "failed":
                choice.chosen.append(token)
            case "uploading" if lost:
                choice.chosen.append(token)
            case "uploading":
                choice.refused.append(f"{told}, its image is paid for: --lost pays for another one")
            case "detected" | "generating":
                choice.left_alone.append(f"{told} and left alone: its image is on its way")
            case _:
                choice.refused.append(f"{told}: it has left imagegen with its image")
    return choice


def choose_failed(
    connection: Connection, tables: Tables, since: datetime, error_kind: str | None
) -> Choice:
    """All tokens that failed since then, with this kind of error where one is named."""
    sql = SEEN + FAILED_SINCE + ("" if error_kind is None else f" AND {ENDED_WITH_KIND}")
    with statement_timeout(connection):
        cursor = connection.cursor(row_factory=class_row(Seen))
        values = {"since": since, "error_kind": error_kind}
        return Choice(cursor.execute(tables.fill(sql), values).fetchall())


def retry(connection: Connection, tables: Tables, seen: Sequence[Seen]) -> Iterator[int]:
    """New attempts for those of these tokens that still look as they were seen, for all of them
    or for none; yields how many, step by step. It is done after the last step."""
    with statement_timeout(connection, STEP_SECONDS):
        for start in range(0, len(seen), STEP):
            step = seen[start : start + STEP]
            values: dict[str, Any] = {
                "token_ids": [token.token_id for token in step],
                "statuses": [token.status for token in step],
                "image_urls": [token.image_url for token in step],
            }
            yield connection.execute(tables.fill(RETRY), values).rowcount


SEEN = f"""
    SELECT t.token_id, lower(t.status::text) AS status, t.image_url, {NEWEST_KIND} AS error_kind
    FROM tokens_s0 t"""

# What was minted since then has failed since then.
FAILED_SINCE = """
    WHERE t.status = $failed AND (
        $minted_at >= %(since)s
        OR EXISTS (
            SELECT FROM generations g WHERE g.token_id = t.token_id
                AND g.closed_at >= %(since)s))"""

# Fenced on what was seen: what a worker, the next stage or another operator has changed since then
# is theirs. An open generation in the way goes on, and its image is the token's.
RETRY = """
    UPDATE tokens_s0 t SET status = $detected, generation_attempts = 0, generation_error = NULL,
        generate_after = NULL, image_url = NULL
    FROM unnest(%(token_ids)s::bigint[], %(statuses)s::text[], %(image_urls)s::text[])
        AS seen (token_id, status, image_url)
    WHERE t.token_id = seen.token_id AND lower(t.status::text) = seen.status
        AND t.image_url IS NOT DISTINCT FROM seen.image_url"""
