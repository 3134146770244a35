"""Hands failed tokens on again if their image exists; else gives them new attempts."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Literal
from urllib.parse import urlsplit

from psycopg import Cursor
from psycopg.rows import kwargs_row

from imagegen.config import copy_url, url_below
from imagegen.database import Connection, Tables, sql, statement_timeout
from imagegen.failures import FAILURES, Billed, Kind
from imagegen.operator.acts import who

# Replicate deletes an image after this time.
RETENTION_SECONDS = 3600.0
# Tokens reset in one statement, and the time that it may take on a slow disk.
STEP, STEP_SECONDS = 1000, 30
SQL = sql.load("imagegen.operator", "tokens.sql")

# The error of a token that waits to be tried again with the fallback prompt.
ASKED = "an operator asked for the fallback prompt"

Change = Literal["hand_on", "retry"]


@dataclass(frozen=True)
class TokenSnapshot:
    """A token as it was read: it is changed only if it is still the same."""

    token_id: int
    status: str | None
    image_url: str | None
    error_kind: str | None
    # The generation that made its newest image, if there is one.
    image_id: int | None
    made_url: str | None
    copy_path: str | None  # absolute, on the worker's host
    recorded_url: str | None  # the URL that it was handed on with, if that is not made_url
    closing_error: str | None  # why the database refuses to write its end
    is_expired: bool  # Replicate has deleted the image
    base: str | None  # the beginning of the URLs of copies, as it is set now
    is_held: bool  # by an operator

    @property
    def handed_on_url(self) -> str | None:
        """The URL of its image, or of the kept copy; None if it has no image or it is lost."""
        if self.copy_path and self.base:
            return url_below(self.base, self.copy_path)
        if self.recorded_url and self.recorded_url != self._url_of_copy:
            return self.recorded_url
        return self._url_of_copy if self.is_expired else self.made_url

    @property
    def is_handed_on_by_file(self) -> bool:
        """Whether it gets a file:// or s3:// URL: the next stage needs access to the copy."""
        return self.is_expired and self.handed_on_url == self._url_of_copy

    @property
    def lacks_its_url(self) -> bool:
        """Whether its URL is missing, expired, or an earlier one of its copy, and there is a better
        one."""
        earlier = {None, self.made_url if self.is_expired or self.base else None}
        earlier |= {self.recorded_url, self._url_of_copy} if self.base else set()
        return self.image_url in earlier and self.handed_on_url not in {None, self.image_url}

    @property
    def _url_of_copy(self) -> str | None:
        return copy_url(self.copy_path) if self.copy_path else None

    @property
    def may_be_billed(self) -> bool:
        """Whether Replicate billed an image for it already, or perhaps did."""
        if self.status == "uploading" or self.image_id is not None or self.image_url is not None:
            return True
        return (
            self.error_kind in set(Kind) and FAILURES[Kind(self.error_kind)].billed is not Billed.NO
        )


@dataclass(frozen=True)
class RetryPlan:
    """What happens to the tokens that were named or found; a line for each that is not changed."""

    chosen: list[TokenSnapshot] = field(default_factory=list)  # they get new attempts
    handed_on: list[TokenSnapshot] = field(default_factory=list)  # nothing is paid for them
    skipped: list[str] = field(default_factory=list)  # they wait or are at work already
    hastened: list[int] = field(default_factory=list)  # skipped; their refused end is tried again
    refused: list[str] = field(default_factory=list)

    @property
    def billed(self) -> int:
        """The number of chosen tokens that were billed for an image, or perhaps were."""
        return sum(token.may_be_billed for token in self.chosen)

    @property
    def copies(self) -> list[str]:
        """A line if tokens are handed on by copies that the next stage may not be able to read."""
        urls = [str(each.handed_on_url) for each in self.handed_on if each.is_handed_on_by_file]
        schemes = sorted({urlsplit(url).scheme for url in urls})
        kinds = " or ".join(f"{'an' if scheme == 's3' else 'a'} {scheme}://" for scheme in schemes)
        return [f"handed on by the kept copy, as {kinds} URL: {len(urls)}"] if urls else []

    @property
    def warnings(self) -> list[str]:
        """What the operator must know before the plan is carried out."""
        again = "had an image that was paid for, or perhaps was: another one will be paid for"
        billed = [f"{self.billed} of these {again}"] if self.billed else []
        return self.skipped + self.refused + self.copies + billed


def plan_named(
    connection: Connection,
    tables: Tables,
    token_ids: Collection[int],
    *,
    lost: bool,
    fallback: bool = False,
    base: str | None = None,
) -> RetryPlan:
    """Return the plan for these tokens.

    `lost`: their images are lost, or of no use; pay for others. `fallback`: use the fallback
    prompt, also for tokens that wait. `base`: the beginning of the URLs of copies.
    """
    with statement_timeout(connection):
        tokens = ask_snapshots(connection, tables, token_ids, base).fetchall()
    unknown = sorted(set(token_ids) - {token.token_id for token in tokens})
    tokens.sort(key=lambda token: token.token_id)
    plan = plan_of(tokens, lost=lost, waiting=fallback)
    plan.refused[:0] = [f"there is no token {token_id}" for token_id in unknown]
    return plan


def plan_failed(
    connection: Connection,
    tables: Tables,
    since: datetime,
    error_kind: str | None,
    *,
    base: str | None = None,
) -> RetryPlan:
    """Return the plan for all tokens that failed after `since`, with this kind of error if given.

    For a token that the next stage failed, the time of its image counts.
    """
    condition = SQL["with_failed_since"]
    if error_kind is not None:
        condition += f" AND {SQL['with_error_kind']}"
    values = {"since": since, "error_kind": error_kind}
    with statement_timeout(connection):
        return plan_of(_ask(connection, tables, condition, values, base).fetchall(), lost=False)


def ask_snapshots(
    connection: Connection, tables: Tables, token_ids: Collection[int], base: str | None
) -> Cursor[TokenSnapshot]:
    """Ask for these tokens as they are now; the cursor has them.

    `base`: the beginning of the URLs of copies.
    """
    values = {"token_ids": list(token_ids)}
    return _ask(connection, tables, SQL["with_token_ids"], values, base)


def _ask(
    connection: Connection,
    tables: Tables,
    condition: str,
    values: Mapping[str, object],
    base: str | None,
) -> Cursor[TokenSnapshot]:
    query = tables.fill(f"{SQL['snapshots']} WHERE {condition}")
    cursor = connection.cursor(row_factory=kwargs_row(partial(TokenSnapshot, base=base)))
    return cursor.execute(query, {**values, "retention_seconds": RETENTION_SECONDS})


def plan_of(tokens: Iterable[TokenSnapshot], *, lost: bool, waiting: bool = False) -> RetryPlan:
    """Return the plan for these tokens. An image that exists is handed on (law 10).

    `waiting`: tokens that wait get new attempts too.
    """
    plan = RetryPlan()
    for token in tokens:
        if token.status is None or (token.status == "detected" and token.is_held):
            obstacle = (
                "is held: release it first" if token.is_held else "has no status: give it one"
            )
            plan.refused.append(f"token {token.token_id} {obstacle}")
            continue
        line = f"token {token.token_id} is {token.status}"
        match token.status:
            case "failed" | "uploading" if lost:
                plan.chosen.append(token)
            case "failed" if token.image_id is None:
                plan.chosen.append(token)
            case "failed" if token.handed_on_url:
                plan.handed_on.append(token)
            case "failed":
                plan.refused.append(
                    f"{line}, its image is paid for and lost: --lost pays for another one"
                )
            case "uploading" if token.lacks_its_url:
                plan.handed_on.append(token)
            case "uploading":
                plan.refused.append(f"{line}, its image is paid for: --lost pays for another one")
            case "generating" if token.closing_error is not None:
                plan.hastened.append(token.token_id)
                plan.skipped.append(
                    f"{line}: tokens_s0 refuses what became of it ({token.closing_error}), which is"
                    " tried again now"
                )
            case "detected" if waiting:
                plan.chosen.append(token)
            case "detected" | "generating":
                plan.skipped.append(f"{line} and left alone: its image is on its way")
            case _:
                plan.refused.append(f"{line}: the next stage has taken it")
    return plan


def retry(
    connection: Connection, tables: Tables, plan: RetryPlan, *, fallback: bool = False
) -> Iterator[tuple[Change, int]]:
    """Carry out the plan for the tokens that are unchanged, in one transaction.

    `fallback`: new attempts use the fallback prompt. Yields after each step the change and the
    number of its tokens. Nothing is committed before the last step.
    """
    changes: dict[Change, list[TokenSnapshot]] = {"hand_on": plan.handed_on, "retry": plan.chosen}
    again = "retry_with_fallback" if fallback else "retry"
    statements = {"hand_on": tables.fill(SQL["hand_on"]), "retry": tables.fill(SQL[again])}
    with statement_timeout(connection, STEP_SECONDS):
        if plan.hastened:
            connection.execute(SQL["hasten"], [plan.hastened])
        for change, tokens in changes.items():
            for start in range(0, len(tokens), STEP):
                step = tokens[start : start + STEP]
                values = {
                    "token_ids": [token.token_id for token in step],
                    "statuses": [token.status for token in step],
                    "image_urls": [token.image_url for token in step],
                    "image_ids": [token.image_id for token in step],
                    "handed_on_urls": [token.handed_on_url for token in step],
                    "reason": ASKED[: tables.error_characters],
                    "who": who(),
                    "how": "fallback" if fallback and change == "retry" else change,
                }
                yield change, connection.execute(statements[change], values).rowcount
