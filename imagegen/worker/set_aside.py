"""Sets tokens aside that the database refuses to change, so that all others go on (law 9).

A statement for many tokens fails for all of them if it fails for one row: a trigger or a CHECK of
the application refuses the row, or a value cannot be read. Then each token gets a statement of its
own. A token whose statement fails is kept out of claims for a growing time, and recorded in
`generations`, where `doctor`, /metrics and `tokens show` find it.
"""

import logging
import time
from collections.abc import Collection, Mapping
from itertools import islice

import psycopg

from imagegen.backoff import exponential
from imagegen.database import AWAY
from imagegen.logs import log
from imagegen.queue import Claim, Queue, Repairs
from imagegen.text import one_line

FIRST_SECONDS = 15.0
# The longest delay, so the longest wait after the row or the trigger was corrected.
LONGEST_SECONDS = 600.0
# How long tokens are claimed one by one before the worker renews its leases and goes on.
ONE_BY_ONE_SECONDS = 2.0
CANDIDATES = 1000
# Tokens that were set aside and are tried again between two claims.
TRIED_AGAIN = 5


class SetAside:
    """Claims for one worker, and the tokens that it has set aside."""

    def __init__(self, queue: Queue, model: str) -> None:
        self._queue = queue
        self._model = model
        self._until: dict[int, float] = {}  # monotonic, by token
        self._reported: dict[int, str] = {}

    def claim(self, *, limit: int, new_limit: int, busy: Collection[int]) -> list[Claim]:
        """Claim as `Queue.claim` does, without tokens that are set aside until their time is over.

        Raises psycopg.Error if the statement fails for no rows as well.
        """
        others = [*busy, *self._until]
        tried = self._due(busy)
        try:
            claims = self._queue.claim(
                limit=limit, new_limit=new_limit, model=self._model, busy=others
            )
        except AWAY:
            raise
        except psycopg.Error:
            # Raises if it fails without any token as well: then no row is to blame.
            self._queue.claim(limit=1, new_limit=1, model=self._model, only=[])
            claims = []
            tried = [*self._queue.candidates(limit=CANDIDATES, busy=others), *tried]
        self._claim_one_by_one(tried, claims, limit, new_limit)
        return claims

    def _due(self, busy: Collection[int]) -> list[int]:
        """Return up to TRIED_AGAIN of the tokens whose time is over."""
        now = time.monotonic()
        due = (token_id for token_id, until in self._until.items() if until <= now)
        return list(islice((token_id for token_id in due if token_id not in busy), TRIED_AGAIN))

    def _claim_one_by_one(
        self, token_ids: Collection[int], claims: list[Claim], limit: int, new_limit: int
    ) -> None:
        """Add to `claims`, up to `limit`, and set aside the tokens that cannot be claimed."""
        stop_at = time.monotonic() + ONE_BY_ONE_SECONDS
        for token_id in token_ids:
            new = sum(not claim.adopted for claim in claims)
            if len(claims) >= limit or time.monotonic() > stop_at:
                return
            try:
                claimed = self._queue.claim(
                    limit=1, new_limit=new_limit - new, model=self._model, only=[token_id]
                )
            except AWAY:
                if not claims:
                    raise
                return  # the claims made so far must start
            except psycopg.Error as error:
                self._set_aside(token_id, error)
                continue
            claims += claimed
            if claimed:
                self._reported.pop(token_id, None)
            if claimed or new_limit > new:  # else it waits for the gate
                self._until.pop(token_id, None)

    def repair_statuses(self, abandoned: Mapping[int, str]) -> Repairs:
        """Repair as `Queue.repair_statuses` does, also if one of the tokens cannot be repaired.

        Raises psycopg.Error if the statement fails for no rows as well.
        """
        try:
            return self._queue.repair_statuses(abandoned)
        except AWAY:
            raise
        except psycopg.Error:
            found = self._queue.repair_statuses({}, only=[])
        repaired = 0
        for token_id in {*abandoned, *self._queue.resets()}:
            own = {token_id: abandoned[token_id]} if token_id in abandoned else {}
            try:
                repaired += self._queue.repair_statuses(own, only=[token_id]).repaired
            except AWAY:
                raise
            except psycopg.Error as error:
                # It may have an image on its way: only its status stays as it is.
                self._report(token_id, reason(error))
        return Repairs(repaired, found.orphans)

    def _set_aside(self, token_id: int, error: psycopg.Error) -> None:
        why = reason(error)
        times = self._queue.set_aside(token_id, why, self._model)
        seconds = exponential(times, first_seconds=FIRST_SECONDS, most_seconds=LONGEST_SECONDS)
        self._until[token_id] = time.monotonic() + seconds
        self._report(token_id, why)

    def _report(self, token_id: int, why: str) -> None:
        """Log why a token is set aside: as a warning the first time, and when it changes."""
        level = logging.DEBUG if self._reported.get(token_id) == why else logging.WARNING
        self._reported[token_id] = why
        log.log(level, "token.set_aside", extra={"token_id": token_id, "reason": why})


def reason(error: psycopg.Error) -> str:
    """Return PostgreSQL's message without its details, which hold the values of the row."""
    return error.diag.message_primary or one_line(error)
