"""The tokens and their generations in PostgreSQL, a verb for each thing that happens to them.

Each verb is one statement in autocommit, so both tables change together (law 5). Each write names
the generation, this worker and `state = 'open'` (law 4): where it finds no row, the lease is lost
and the verb says so. Leases and backoffs run on PostgreSQL's clock.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

from psycopg import ClientCursor
from psycopg.errors import UniqueViolation
from psycopg.rows import BaseRowFactory, class_row, dict_row

from imagegen.database import Pool, Tables
from imagegen.queue.statements import statements

# The column's width in a database that is shared; the same everywhere.
ERROR_CHARACTERS = 1000
# A token that alone is refused time and again makes way for the others: 2, 4, 8 … s.
OWN_DELAY_SECONDS = 2.0
LONGEST_OWN_DELAY_SECONDS = 600.0

# What waits for its turn comes before new tokens, also when its time is about to come: the pace
# that it waits for lets one go at that very moment.
TURN_AHEAD_SECONDS = 1.0

# A row or a table that somebody holds is waited for so long at a time: others want the connection.
# And the isolation is the one that the statements are written for, whatever the default is.
LOCK_MILLISECONDS = 200
BRIEFLY = f"""SET LOCAL transaction_isolation = 'read committed';
    SET LOCAL lock_timeout = {LOCK_MILLISECONDS}; """

# How long one request may wait for its turn to be counted, and another one stand still in its own.
LIMIT_LOCK_MILLISECONDS = 2000
LIMIT_IDLE_MILLISECONDS = 5000


Row = TypeVar("Row")


@dataclass(frozen=True)
class Claim:
    """A generation that this worker holds, and what is known of it."""

    generation_id: int
    token_id: int
    attempt: int
    fallback: bool
    model: str
    seed: int
    author_prompt: str | None
    wanted: bool  # the token is still there and waits for an image
    previous_kind: str | None  # why the attempt before this one failed
    adopted: bool
    postponed: bool  # adopted, and held by nobody meanwhile: it was only put aside
    waited_seconds: float  # since the mint
    opened_seconds_ago: float
    prompt: str | None = None  # as sent
    prediction_id: str | None = None
    requested_at: str | None = None  # ISO 8601, UTC
    requested_seconds_ago: float | None = None
    # Earlier requests of the token that Replicate's list did not hold in time: it may do so late.
    doubted_seeds: list[int] | None = None
    doubted_at: str | None = None  # the first of them; ISO 8601, UTC
    doubted_seconds_ago: float | None = None


@dataclass(frozen=True)
class Closed:
    """A generation was closed, so long after its claim."""

    waits_again: bool  # whether the token waits for another attempt
    failed: bool  # whether the token has failed
    duration_seconds: float


@dataclass(frozen=True)
class Image:
    """What a succeeded generation has brought."""

    url: str
    predict_seconds: float | None
    count: int  # in the output: Replicate bills each
    path: str | None = None  # of the copy that is kept
    sha256: str | None = None


@dataclass(frozen=True)
class Left:
    """How many predictions the daily limit leaves; infinite without a limit."""

    today: float = math.inf
    for_new: float = math.inf  # the others are for what was claimed and has not asked yet


class DailyLimitError(Exception):
    """So many predictions were made in 24 hours that there may be no more."""


class Queue:
    """One worker's hands in the two tables."""

    def __init__(
        self,
        pool: Pool,
        tables: Tables,
        worker: str,
        *,
        lease_seconds: float,
        give_up_after_seconds: float,
        daily_limit: int | None = None,
    ) -> None:
        self._pool = pool
        self._worker = worker
        self._lease_seconds = lease_seconds
        self._give_up_after_seconds = give_up_after_seconds
        self._daily_limit = daily_limit
        self._statements = statements(tables)

    def claim(
        self, *, limit: int, new_limit: int, model: str, busy: Collection[int] = ()
    ) -> list[Claim]:
        """Up to `limit` generations: first those whose lease ran out, whoever left them, then up
        to `new_limit` tokens that wait, the oldest first. `busy` are the tokens at work here."""
        values = {"limit": limit, "new_limit": new_limit, "model": model, "busy": list(busy)}
        values |= {"ahead": TURN_AHEAD_SECONDS}
        return self._ask("claim", values, class_row(Claim))

    def renew(self, token_ids: Collection[int]) -> None:
        """Hold the open generations of these tokens for another lease."""
        if token_ids:
            self._run("renew", {"token_ids": list(token_ids)})

    def record_request(self, claim: Claim, prompt: str) -> Claim | None:
        """Commit that a POST is about to leave (law 1). None: the lease is lost, send nothing.
        Raises DailyLimitError."""
        values = {"prompt": prompt}
        if self._daily_limit is None:
            rows = self._write("record_request", claim, values)
        else:
            rows = self._record_within_limit(claim, values)
        return replace(claim, prompt=prompt, requested_seconds_ago=0.0, **rows[0]) if rows else None

    def record_prediction(self, claim: Claim, prediction_id: str) -> Claim | None:
        """Commit the prediction that Replicate accepted, which may be done again where nobody
        knows whether the first time was committed. None: the lease is lost, or another generation
        took the prediction for its own (only where a model has no marker input)."""
        try:
            rows = self._write("record_prediction", claim, {"prediction_id": prediction_id})
        except UniqueViolation:
            return None
        return replace(claim, **rows[0]) if rows else None

    def left_today(self) -> Left:
        if self._daily_limit is None:
            return Left()
        return self._left(self._run("requested_today", {}))

    def close_succeeded(self, claim: Claim, image: Image) -> Closed | None:
        """The image is there: hand the token on. None: the lease is lost."""
        return self._close("close_succeeded", claim, asdict(image))

    def close_failed(
        self, claim: Claim, kind: str, message: str, *, max_attempts: int, again_seconds: float
    ) -> Closed | None:
        """An attempt failed: the token waits for the next one, or fails after the last one, by
        its own count, which an operator may have reset. What never became a prediction is not
        counted (law 3). `max_attempts` 0: no other try can pass. None: the lease is lost."""
        values = {"max_attempts": max_attempts, "attempts": int(claim.prediction_id is not None)}
        return self._close("close_failed", claim, values | _retry(kind, message, again_seconds))

    def close_refused(
        self, claim: Claim, reason: str, message: str, again_seconds: float, *, blames: bool
    ) -> Closed | None:
        """Replicate made no prediction: the token waits, uncharged (law 3), for longer each time
        when the refusal `blames` the token; refused for too long, it fails. None: lease lost."""
        values = {
            "own_seconds": OWN_DELAY_SECONDS if blames else 0.0,
            "own_most_seconds": LONGEST_OWN_DELAY_SECONDS,
            "give_up_after": self._give_up_after_seconds,
        }
        return self._close("close_refused", claim, values | _retry(reason, message, again_seconds))

    def close_censored(self, claim: Claim, kind: str, message: str, prompt: str) -> Claim | None:
        """Content policy: go on with `prompt` in a second generation of the same attempt.
        None: the lease is lost."""
        values = {**_retry(kind, message, 0.0), "prompt": prompt}
        values |= {"generation_id": claim.generation_id}
        fallbacks = self._ask("close_censored", values, class_row(Claim))
        return fallbacks[0] if fallbacks else None

    def postpone(self, claim: Claim, again_seconds: float) -> Claim | None:
        """Let go of a generation, for anyone to adopt after a while. None: the lease is lost."""
        return claim if self._write("postpone", claim, {"again_seconds": again_seconds}) else None

    def release(self) -> int:
        """End the leases of this worker, which stops; returns how many. Whoever looks next adopts
        them."""
        return len(self._run("release", {"of_worker": self._worker, "place": None}))

    def release_of(self, predecessor: str) -> int:
        """End the leases of a dead predecessor, and of those before it in this worker's place: it
        may have died before it could do this for them. Returns how many."""
        place = predecessor.rpartition(".")[0] + "."
        return len(self._run("release", {"of_worker": predecessor, "place": place}))

    def known_predictions(self, prediction_ids: Collection[str]) -> set[str]:
        """Which of these belong to a generation already."""
        rows = self._run("known_predictions", {"prediction_ids": list(prediction_ids)})
        return {row["prediction_id"] for row in rows}

    def anybody_waits(self) -> bool:
        """Whether there is a token without its image, at work or not."""
        return bool(self._run("anybody_waits", {})[0]["waits"])

    def mend(self) -> int:
        """Put tokens right whose status was changed from outside; returns how many.

        `generating` without an open generation (an older worker's, or a deleted row) waits anew;
        `detected` with an open generation (an operator's reset) is generating.
        """
        return sum(row["mended"] for row in self._run("mend", {}))

    def _record_within_limit(self, claim: Claim, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Count and record together: who asks at the same moment waits, and counts this one."""
        values = self._held({**values, "generation_id": claim.generation_id})
        with self._pool.connection() as connection, connection.transaction():
            cursor = connection.cursor(row_factory=dict_row)
            cursor.execute("SET LOCAL transaction_isolation = 'read committed'")
            # Whoever stands still here lets the others go on after a while.
            cursor.execute(f"SET LOCAL lock_timeout = {LIMIT_LOCK_MILLISECONDS}")
            cursor.execute(
                f"SET LOCAL idle_in_transaction_session_timeout = {LIMIT_IDLE_MILLISECONDS}"
            )
            cursor.execute(self._statements["lock_daily_limit"])
            counted = cursor.execute(self._statements["requested_today"]).fetchall()
            if self._left(counted).today <= 0:
                raise DailyLimitError
            return cursor.execute(self._statements["record_request"], values).fetchall()

    def _left(self, counted: list[dict[str, Any]]) -> Left:
        assert self._daily_limit is not None  # noqa: S101 (else nothing is counted)
        [row] = counted
        # A limit that was lowered may be exceeded already.
        today = max(self._daily_limit - row["requested"], 0)
        return Left(today, max(today - row["unsent"], 0))

    def _close(self, name: str, claim: Claim, values: Mapping[str, Any]) -> Closed | None:
        rows = self._write(name, claim, values)
        return Closed(**rows[0]) if rows else None

    def _write(self, name: str, claim: Claim, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        return self._run(name, {**values, "generation_id": claim.generation_id})

    def _run(self, name: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        return self._ask(name, values, dict_row)

    def _ask(
        self, name: str, values: Mapping[str, Any], row_factory: BaseRowFactory[Row]
    ) -> list[Row]:
        """Carry out one statement, and wait only briefly for what others hold."""
        with self._pool.connection() as connection:
            # With its values written into it, it travels with the two settings: one round trip, and
            # one transaction without BEGIN.
            cursor = ClientCursor(connection, row_factory=row_factory)
            cursor.execute(BRIEFLY + self._statements[name], self._held(values))
            while cursor.nextset():
                pass
            return cursor.fetchall()

    def _held(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {**values, "worker": self._worker, "lease": self._lease_seconds}


def _retry(kind: str, message: str, again_seconds: float) -> dict[str, Any]:
    return {"kind": kind, "message": message[:ERROR_CHARACTERS], "again_seconds": again_seconds}
