"""Polls predictions until they end, and reports their endings to the gate."""

import time
from collections import deque
from dataclasses import replace
from urllib.parse import urlsplit

from imagegen.config import LOOPBACK, Settings
from imagegen.failures import FAILURES, Kind, Reason, Retry, shortened
from imagegen.logs import log
from imagegen.queue import Claim
from imagegen.replicate import (
    Failed,
    PollFailed,
    Refused,
    ReplicateClient,
    Reply,
    Running,
    Succeeded,
    facts,
    outcomes,
)
from imagegen.worker import crash_points
from imagegen.worker.database_retry import DatabaseRetry
from imagegen.worker.endings import Ending, Postponed, Until
from imagegen.worker.gate import Gate
from imagegen.worker.poll_schedule import PollSchedule
from imagegen.worker.reconciliation import OF_ANOTHER_ACCOUNT, Reconciler
from imagegen.worker.settlement import log_fields

# Replicate itself ends a prediction after Cancel-After; this much later it surely has.
OVERDUE_SECONDS = 60.0
# After this many failed polls in a row, nothing new is sent.
FAILED_POLLS_IN_A_ROW = 3
# A prediction may be unknown to GET for a while after its creation.
MISSING_SECONDS = 60.0
# An output that cannot be read may be a short fault of the API, and another poll costs nothing.
READ_AGAIN_SECONDS = 60.0
# Far more predictions of a worker than can wait for their copies.
IMAGES_REMEMBERED = 2000

EXPIRED = Failed(
    Kind.DATA_REMOVED, "the prediction succeeded, and its image has expired at Replicate since"
)
ENDLESS = Failed(Kind.TRANSIENT, "Replicate neither ended nor cancelled the prediction")


class Poller:
    """Polls the predictions of one worker. Safe between its slots."""

    def __init__(
        self,
        settings: Settings,
        *,
        client: ReplicateClient,
        gate: Gate,
        retry: DatabaseRetry,
        reconciler: Reconciler,
        keeps_images: bool,
    ) -> None:
        """`keeps_images`: an image may be in the output itself, because it is kept."""
        self._client = client
        self._gate = gate
        self._retry = retry
        self._reconciler = reconciler
        slots = settings.procs * settings.slots
        self._schedule = PollSchedule(settings.poll_budget / 60 / slots)
        self._give_up_after_seconds = settings.give_up_after_seconds
        self._overdue_seconds = settings.cancel_after_seconds + OVERDUE_SECONDS
        # Image URLs are https, unless the API itself is on this machine.
        self._http_images = urlsplit(settings.replicate_base_url).hostname in LOOPBACK
        self._keeps_images = keeps_images
        self._policy_pattern = settings.content_policy_words
        self._images: deque[str | None] = deque(maxlen=IMAGES_REMEMBERED)  # of these predictions

    def poll(self, claim: Claim, prediction_id: str) -> Ending:
        """Poll a prediction until it ends, or until it is better to free the slot and poll later.
        Return the ending of the generation. Raises ShutdownError."""
        started = last_known = time.monotonic()
        failed_polls = 0
        wait_seconds = 0.0 if claim.adopted else self._schedule.wait_seconds(0.0)
        while True:
            self._retry.sleep(wait_seconds)
            sent = time.monotonic()
            outcome = self._outcome(self._client.get(prediction_id))
            crash_points.reach("looked")
            now = time.monotonic()
            self._schedule.learn_round_trip(now - sent)
            age_seconds = (claim.requested_seconds_ago or 0.0) + now - started
            failed_polls = self._count_failed_polls(claim, outcome, failed_polls)
            match outcome:
                case Succeeded() if age_seconds > facts.RETENTION_SECONDS + self._overdue_seconds:
                    return EXPIRED
                case Succeeded() | Failed():
                    return self._end(claim, outcome, age_seconds)
                case Running() if age_seconds > self._overdue_seconds:
                    return self._end_overdue(claim, prediction_id, age_seconds)
                case PollFailed(message, missing=True) if now - last_known > MISSING_SECONDS:
                    return self._end_missing(claim, prediction_id, message, age_seconds)
                case PollFailed(message, missing=False) if age_seconds > self._overdue_seconds:
                    return _poll_later(message, age_seconds)
                case Running() | PollFailed(missing=False):
                    last_known = now
            wait_seconds = self._schedule.wait_seconds(age_seconds)

    def _end(self, claim: Claim, outcome: Succeeded | Failed, age_seconds: float) -> Ending:
        """Report to the gate how a prediction has ended, and return the generation's ending."""
        match outcome:
            case Succeeded():
                # A prediction whose image waits to be copied is polled again: report it only once.
                if claim.prediction_id not in self._images:
                    self._images.append(claim.prediction_id)
                    self._gate.record_image()
                self._schedule.learn(outcome.total_seconds, outcome.predict_seconds)
                return outcome
            case Failed(Kind.UNREADABLE | Kind.NO_OUTPUT):
                return self._end_unreadable(claim, outcome, age_seconds)
            case Failed(kind) if FAILURES[kind].retry is Retry.ATTEMPT:
                delay = self._gate.record_failure(outcome, claim)
                return replace(outcome, wait_seconds=delay.seconds)
            case Failed():
                return outcome

    def _end_unreadable(self, claim: Claim, failed: Failed, age_seconds: float) -> Ending:
        """Return whether to read an output again that was paid for and cannot be read, or to give
        it up: it is read again for a minute, at least once, and for as long as the outputs of
        several predictions in a row cannot be read."""
        is_one_of_several = self._gate.record_unreadable(failed.message, claim)
        if age_seconds > self._give_up_after_seconds:
            return failed
        is_new = not claim.postponed or age_seconds < shortened(READ_AGAIN_SECONDS)
        if is_one_of_several or is_new:
            return Postponed(Until.OUTPUT_IS_READ, age_seconds=age_seconds, why=failed.message)
        return failed

    def _count_failed_polls(self, claim: Claim, outcome: object, before: int) -> int:
        """Return how many polls in a row have failed; too many close the gate."""
        match outcome:
            case PollFailed(message, reason=Reason() as reason):
                if before + 1 == FAILED_POLLS_IN_A_ROW:
                    self._gate.record_refusal(Refused(reason, message), claim.generation_id)
                return before + 1
            case _:
                return 0

    def _end_missing(
        self, claim: Claim, prediction_id: str, message: str, age_seconds: float
    ) -> Ending:
        """Return the ending for a prediction that GET does not know: it is lost only if the list
        does not hold it either."""
        if self._reconciler.is_of_another_account(claim):
            return OF_ANOTHER_ACCOUNT
        if self._reconciler.knows(claim, prediction_id, age_seconds) is False:
            log.error("prediction.lost", extra=log_fields(claim, error=message))
            gone = f"Replicate no longer knows the prediction, perhaps paid for: {message}"
            return Failed(Kind.GONE, gone)
        return _poll_later(message, age_seconds)

    def _end_overdue(self, claim: Claim, prediction_id: str, age_seconds: float) -> Ending:
        """Cancel a prediction that Replicate should have ended itself. Another one may follow only
        if this one has ended, or cannot be running any more."""
        log.warning("prediction.overdue", extra=log_fields(claim))
        match self._outcome(self._client.cancel(prediction_id)):
            case Succeeded() | Failed() as ended:
                return self._end(claim, ended, age_seconds)
            # Replicate has forgotten a prediction that it still shows as running then.
            case Running() if age_seconds > facts.LONGEST_PREDICTION_SECONDS + OVERDUE_SECONDS:
                return ENDLESS
            case PollFailed(message):
                return _poll_later(f"it cannot be cancelled: {message}", age_seconds)
            case _:
                return Postponed(Until.PREDICTION_ENDS)

    def _outcome(self, reply: Reply) -> Running | Succeeded | Failed | PollFailed:
        return outcomes.of_get(
            reply,
            http_allowed=self._http_images,
            data_allowed=self._keeps_images,
            policy_pattern=self._policy_pattern,
        )


def _poll_later(message: str, age_seconds: float) -> Postponed:
    """Return the ending that frees the slot: the prediction cannot be polled now."""
    return Postponed(Until.PREDICTION_IS_SEEN, age_seconds=age_seconds, why=message)
