"""What became of a request without an answer: only Replicate's list can tell (law 2).

Nothing is sent again until a prediction has had time to show up there. While it waits, a generation
holds no slot.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from imagegen.config import Settings
from imagegen.failures import Kind, Reason
from imagegen.logs import log
from imagegen.metrics import definitions as metrics
from imagegen.queue import Claim, Queue
from imagegen.replicate import (
    Absent,
    Expired,
    Failed,
    Found,
    Listed,
    NoAnswer,
    NotSent,
    PollFailed,
    Prediction,
    Refused,
    Rejected,
    ReplicateClient,
    matching,
)
from imagegen.worker.database_retry import DatabaseRetry
from imagegen.worker.endings import Delay, Ending, Postponed, TurnedAway, Until
from imagegen.worker.settlement import log_fields

# Replicate's clock and PostgreSQL's differ; in a wider list the seed still finds the right one.
CLOCK_SLACK_SECONDS = 120.0
# By Replicate's own clock less is enough, so that it widens the list only if they differ by more.
OWN_CLOCK_SLACK_SECONDS = 60.0
# A prediction made this long before or after the request is another's, however the clocks differ.
SURELY_SECONDS = 600.0
# Results that decide nothing: the list is asked again, and an outage has hundreds of them.
UNSEEN, NOT_YET = "unseen", "not_yet"
UNDECIDED = {UNSEEN, NOT_YET}
# The settle time was delay enough, unless this token alone gets no answer each time.
ABSENT = TurnedAway(
    Refused(Reason.UNAVAILABLE, "Replicate gave no answer and made no prediction"),
    Delay(0.0, escalates=True),
)
EXPIRED = Failed(
    Kind.UNRESOLVED, "Replicate no longer tells whether it made this, and it is perhaps paid for"
)


class Reconciler:
    """Finds the predictions of one worker's generations in Replicate's list."""

    def __init__(
        self, settings: Settings, queue: Queue, client: ReplicateClient, retry: DatabaseRetry
    ) -> None:
        self._settle_seconds = settings.settle_seconds
        # Whether each prediction carries its generation's seed, by which it is matched.
        self._is_marked = settings.marker_input is not None
        self._queue = queue
        self._client = client
        self._retry = retry

    def find(self, claim: Claim) -> Prediction | Ending:
        """Return the prediction that a generation's request made, or how the generation ends:
        there is none, or none yet."""
        assert claim.requested_at and claim.prompt is not None  # noqa: S101 (committed together)
        age_seconds = claim.requested_seconds_ago or 0.0
        requested_at = datetime.fromisoformat(claim.requested_at)
        listed = self._list(requested_at, age_seconds)
        if not isinstance(listed, Listed):
            _report(claim, UNSEEN)
            return Postponed(Until.LIST_IS_READ, age_seconds=age_seconds, why=str(listed))
        known = self._known(listed)
        seed = claim.seed if self._is_marked else None
        surely = timedelta(seconds=SURELY_SECONDS)
        made = (requested_at - surely, requested_at + surely)
        match matching.match_request(listed, claim.prompt, seed, known, made):
            case Found(prediction, others):
                _report(claim, "found")
                self._cancel(claim, others)
                return prediction
            case Expired():
                _report(claim, "undecidable")
                return EXPIRED
            case Absent() if age_seconds < self._settle_seconds:
                _report(claim, NOT_YET)
                return Postponed(Until.LIST_HOLDS_IT, age_seconds=age_seconds)
            case Absent():
                _report(claim, "absent")
                return ABSENT

    def knows(self, claim: Claim, prediction_id: str) -> bool | None:
        """Return whether the list holds this prediction; None: it cannot be read."""
        assert claim.requested_at  # noqa: S101 (committed before the prediction)
        requested_at = datetime.fromisoformat(claim.requested_at)
        listed = self._list(requested_at, claim.requested_seconds_ago or 0.0)
        if not isinstance(listed, Listed):
            return None
        return prediction_id in {item.id for item in listed.predictions}

    def find_late(self, claim: Claim) -> Prediction | PollFailed | None:
        """Return what an earlier request of this token made after all, if it did: to be asked
        before another request is sent."""
        if not (self._is_marked and claim.unresolved_seeds and claim.unresolved_since):
            return None
        since = datetime.fromisoformat(claim.unresolved_since)
        listed = self._list(since, claim.unresolved_seconds_ago or 0.0)
        if not isinstance(listed, Listed):
            return PollFailed(f"Replicate's list cannot be read: {listed}")
        found = matching.match_late(listed, claim.unresolved_seeds, self._known(listed))
        if found is None:
            return None
        _report(claim, "found")
        self._cancel(claim, found.others)
        return found.prediction

    def _known(self, listed: Listed) -> set[str]:
        """Return which of these belong to a generation already."""
        ids = {item.id for item in listed.predictions}
        return self._retry.until_available(lambda: self._queue.known_predictions(ids))

    def _list(self, since: datetime, seconds_ago: float) -> Listed | Rejected | NotSent | NoAnswer:
        """Return what was made since then, by either clock."""
        return self._client.list(
            since - timedelta(seconds=CLOCK_SLACK_SECONDS),
            last_seconds=seconds_ago + OWN_CLOCK_SLACK_SECONDS,
        )

    def _cancel(self, claim: Claim, others: Sequence[Prediction]) -> None:
        """Cancel what the same request made by some mishap, such as a proxy that sends again."""
        for other in others:
            metrics.DUPLICATES.inc()
            log.error("prediction.duplicate", extra=log_fields(claim, duplicate=other.id))
            self._client.cancel(other.id)


def _report(claim: Claim, result: str) -> None:
    metrics.RECONCILIATIONS.labels(result).inc()
    level = logging.DEBUG if result in UNDECIDED else logging.INFO
    log.log(level, "prediction.reconciled", extra=log_fields(claim, result=result))
