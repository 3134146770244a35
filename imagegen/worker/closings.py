"""Writes a decision, also if the database refuses it for one token or for all."""

import time

from imagegen.database import AWAY
from imagegen.queue import Applied, Claim, ClosingRefusedError, Decision, Queue
from imagegen.text import one_line
from imagegen.worker.database_retry import DatabaseRetry

# The longest that a slot waits for a locked row or a slow trigger.
PATIENCE_SECONDS = 5.0


def write(queue: Queue, retry: DatabaseRetry, claim: Claim, decision: Decision) -> Applied:
    """Write a decision, or keep it for later if the database refuses it (law 9).

    Raises LostLeaseError and ShutdownError.
    """
    began = time.monotonic()

    def write_or_keep() -> Applied | None:
        has_waited = time.monotonic() - began > PATIENCE_SECONDS
        if has_waited:
            queue.renew([claim.token_id])  # raises one of AWAY while the whole database is away
        try:
            return queue.apply(claim, decision)
        except ClosingRefusedError as error:
            why: Exception = error
        except AWAY as error:
            if not has_waited:
                raise
            why = error
        return queue.keep(claim, decision, one_line(why))

    return retry.fenced(write_or_keep)
