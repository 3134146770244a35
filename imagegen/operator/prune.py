"""Deletes old rows of `generations` that no token needs any more, and keeps their totals.

It deletes in small steps. Each is a transaction of its own, with a pause after it, so that workers
can claim.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from psycopg.errors import LockNotAvailable
from psycopg.rows import class_row

from imagegen.database import BRIEFLY, Connection, Tables, sql, statement_timeout
from imagegen.operator.spend import QUERY_SECONDS, parameters

SQL = sql.load("imagegen.operator", "spend.sql")
# Rows of the last two days are needed for the audit of what was paid, and for the search for
# requests whose answer was lost.
LEAST_OLDER_SECONDS = 48 * 3600.0
# Rows that one step looks at, which takes some 10 ms. After a longer step, claims would wait for
# the disk while its commit is written.
STEP_ROWS = 250
STEP_MILLISECONDS = 30_000
LOCK_MILLISECONDS = 1000
# The pause after a step is this many times as long as the step, so that workers have three quarters
# of the time; and never shorter than the second value.
PAUSE_TIMES = 3.0
LEAST_PAUSE_SECONDS = 0.02


@dataclass(frozen=True)
class Prunable:
    """The rows that are old enough, whatever their tokens."""

    before: datetime  # they ended before this time
    generations: int
    first: int  # their least id
    last: int  # their greatest id

    @property
    def ids(self) -> int:
        """How many ids there are from the first of these rows to the last."""
        return self.last - self.first + 1


@dataclass(frozen=True)
class Pruned:
    """The rows that a step has deleted, or would delete."""

    last: int | None  # the id of the last row that the step looked at; None: there are no more
    generations: int
    tokens: int
    paths: list[str]  # of copies of their images
    ids: int = 0  # how many ids it has gone forward


def find_prunable(connection: Connection, older_seconds: float) -> Prunable:
    """Return the rows that ended at least `older_seconds` ago."""
    with statement_timeout(connection, QUERY_SECONDS):
        cursor = connection.cursor(row_factory=class_row(Prunable))
        [found] = cursor.execute(SQL["prunable"], {"older_seconds": older_seconds}).fetchall()
    return found


def prune(
    connection: Connection,
    tables: Tables,
    prunable: Prunable,
    *,
    dry_run: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Pruned]:
    """Delete step by step, and yield what each step deleted, after it was committed. A dry run
    deletes nothing.

    A step deletes rows and adds them to the totals in one transaction. So it may be killed at any
    time, and the next run goes on. A step that would wait for a lock is left to the next run.
    """
    statement = tables.fill(SQL["would_prune" if dry_run else "prune"])
    values = parameters() | {"before": prunable.before, "last": prunable.last, "rows": STEP_ROWS}
    after = prunable.first - 1
    while after < prunable.last:
        started = time.monotonic()
        try:
            step = _step(connection, statement, values | {"after": after})
        except LockNotAvailable:
            step = Pruned(after + STEP_ROWS, 0, 0, [])
        if step.last is None:
            return
        took_seconds = time.monotonic() - started
        yield replace(step, ids=step.last - after)
        after = step.last
        if not dry_run:  # it writes nothing, so workers need no pause
            sleep(max(took_seconds * PAUSE_TIMES, LEAST_PAUSE_SECONDS))


def _step(connection: Connection, statement: str, values: dict[str, object]) -> Pruned:
    with connection.transaction():
        connection.execute(
            f"{BRIEFLY}SET LOCAL lock_timeout = {LOCK_MILLISECONDS};"
            f" SET LOCAL statement_timeout = {STEP_MILLISECONDS}"
        )
        connection.execute(SQL["lock_prune"])
        cursor = connection.cursor(row_factory=class_row(Pruned))
        [step] = cursor.execute(statement.encode(), values).fetchall()
        return step


def delete_copies(paths: Sequence[str], folder: Path) -> tuple[int, list[str]]:
    """Delete these copies of images, which should be in `folder`.

    Return how many were deleted, and a line for each that could not be deleted. A file that is gone
    already is skipped. A file outside the folder is not touched, and gets a line.
    """
    deleted, failures = 0, []
    for path in map(Path, paths):
        if path.parent != folder:
            failures.append(f"{path} is not in {folder}: it is left there")
            continue
        try:
            path.unlink()
            deleted += 1
        except FileNotFoundError:
            continue
        except OSError as error:
            failures.append(f"{path} cannot be deleted: {error.strerror}")
    return deleted, failures
