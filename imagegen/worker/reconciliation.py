"""What became of a request that nobody heard an answer to: only Replicate's list can tell.

Unknown is not failed (law 2): until a prediction has had time to show up there, nothing is sent
again. While it waits, a generation holds no slot.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from imagegen.failures import Kind, Reason
from imagegen.logs import log
from imagegen.metrics import definitions as metrics
from imagegen.queue import Claim, Queue
from imagegen.replicate import (
    Absent,
    Failed,
    Found,
    Listed,
    NotSent,
    Prediction,
    Provider,
    Refused,
    Rejected,
    Unclear,
    Undecidable,
    Unseen,
    matching,
)
from imagegen.worker.database_retry import Patience
from imagegen.worker.gate import Delay
from imagegen.worker.settlement import Closer, about

# Replicate's clock and PostgreSQL's differ; in a wider list the seed still finds the right one.
CLOCK_SLACK_SECONDS = 120.0
# By Replicate's own clock less will do, so that it widens the list only where they differ by more.
OWN_CLOCK_SLACK_SECONDS = 60.0
# What was made so long before or after the request is another's, however the clocks differ.
SURELY_SECONDS = 600.0
# How soon the list is asked again.
SHORTEST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 60.0
# Results that decide nothing: the list is asked again, and an outage has hundreds of them.
UNSEEN, NOT_YET = "unseen", "not_yet"
UNDECIDED = {UNSEEN, NOT_YET}
# The settle time was delay enough, but for a token that alone gets no answer time and again.
ABSENT = Delay(0.0, grows=True)
PERHAPS = "and it is perhaps paid for"


class Reconciler:
    """Finds the predictions of one worker's generations in Replicate's list."""

    def __init__(
        self,
        *,
        queue: Queue,
        provider: Provider,
        closer: Closer,
        patience: Patience,
        marked: bool,
        settle_seconds: float,
        give_up_after_seconds: float,
    ) -> None:
        """`marked`: whether each prediction has its generation's seed, to be known again by."""
        self._queue = queue
        self._provider = provider
        self._close = closer
        self._patience = patience
        self._marked = marked
        self._settle_seconds = settle_seconds
        self._give_up_after_seconds = give_up_after_seconds

    def find(self, claim: Claim) -> Prediction | None:
        """The prediction that a generation's request made. None: the generation was closed,
        because there is none, or put aside, because it may still show up."""
        assert claim.requested_at and claim.prompt is not None  # noqa: S101 (committed together)
        age_seconds = claim.requested_seconds_ago or 0.0
        requested_at = datetime.fromisoformat(claim.requested_at)
        listed = self._list(requested_at, age_seconds)
        if not isinstance(listed, Listed):
            if age_seconds < self._give_up_after_seconds:
                self._wait(claim, UNSEEN)
            else:
                self._fail(claim, f"Replicate's list cannot be read, {PERHAPS}: {listed}")
            return None
        known = self._known(listed)
        seed = claim.seed if self._marked else None
        surely = timedelta(seconds=SURELY_SECONDS)
        made = (requested_at - surely, requested_at + surely)
        match matching.of_list(listed, claim.prompt, seed, known, made):
            case Found(prediction, others):
                _tell(claim, "found")
                self._cancel(claim, others)
                return prediction
            case Undecidable():
                _tell(claim, "undecidable")
                self._fail(claim, f"Replicate no longer tells whether it made this, {PERHAPS}")
            case Absent() if age_seconds < self._settle_seconds:
                self._wait(claim, NOT_YET)
            case Absent():
                _tell(claim, "absent")
                message = "Replicate gave no answer and made no prediction"
                self._close.refuse(claim, Refused(Reason.UNAVAILABLE, message), ABSENT)
        return None

    def knows(self, claim: Claim, prediction_id: str) -> bool | None:
        """Whether the list holds a prediction of this generation; None: it cannot be read."""
        assert claim.requested_at  # noqa: S101 (committed before the prediction)
        requested_at = datetime.fromisoformat(claim.requested_at)
        listed = self._list(requested_at, claim.requested_seconds_ago or 0.0)
        if not isinstance(listed, Listed):
            return None
        return prediction_id in {item.id for item in listed.predictions}

    def find_late(self, claim: Claim) -> Prediction | Unseen | None:
        """What an earlier request of this token made after all, before another one is sent."""
        if not (self._marked and claim.doubted_seeds and claim.doubted_at):
            return None
        doubted_at = datetime.fromisoformat(claim.doubted_at)
        listed = self._list(doubted_at, claim.doubted_seconds_ago or 0.0)
        if not isinstance(listed, Listed):
            return Unseen(f"Replicate's list cannot be read: {listed}")
        found = matching.of_late_list(listed, claim.doubted_seeds, self._known(listed))
        if found is None:
            return None
        _tell(claim, "found")
        self._cancel(claim, found.others)
        return found.prediction

    def _known(self, listed: Listed) -> set[str]:
        """Which of these belong to a generation already."""
        ids = {item.id for item in listed.predictions}
        return self._patience.with_database(lambda: self._queue.known_predictions(ids))

    def _list(self, since: datetime, seconds_ago: float) -> Listed | Rejected | NotSent | Unclear:
        """What was made since then, by either clock."""
        return self._provider.list(
            since - timedelta(seconds=CLOCK_SLACK_SECONDS),
            last_seconds=seconds_ago + OWN_CLOCK_SLACK_SECONDS,
        )

    def _cancel(self, claim: Claim, others: Sequence[Prediction]) -> None:
        """What the same request made by some mishap, such as a proxy that sends again."""
        for other in others:
            metrics.DUPLICATES.inc()
            log.error("prediction.duplicate", extra=about(claim, duplicate=other.id))
            self._provider.cancel(other.id)

    def _fail(self, claim: Claim, message: str) -> None:
        self._close.fail(claim, Failed(Kind.UNRESOLVED, message))

    def _wait(self, claim: Claim, result: str) -> None:
        """Ask again after as long as it has been, and as soon as the settle time is over."""
        _tell(claim, result)
        age_seconds = claim.requested_seconds_ago or 0.0
        again_seconds = min(max(age_seconds, SHORTEST_WAIT_SECONDS), LONGEST_WAIT_SECONDS)
        remaining_seconds = self._settle_seconds - age_seconds
        if 0.0 < remaining_seconds < again_seconds:
            again_seconds = remaining_seconds
        self._close.postpone(claim, again_seconds)


def _tell(claim: Claim, result: str) -> None:
    metrics.RECONCILIATIONS.labels(result).inc()
    level = logging.DEBUG if result in UNDECIDED else logging.INFO
    log.log(level, "prediction.reconciled", extra=about(claim, result=result))
