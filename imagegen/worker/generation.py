"""The recipe for one token, from its claim to its image.

Check the prompt, commit that a request leaves, POST, commit the prediction's id, poll until it
ends, and settle. An adopted generation enters where its predecessor stopped: at the poll, or at
Replicate's list if nobody knows what became of the POST.
"""

import time
from typing import Any
from urllib.parse import urlsplit

from imagegen import prompts
from imagegen.config import LOOPBACK, Settings
from imagegen.failures import SEND_WITHIN, Kind, Reason
from imagegen.logs import log
from imagegen.metrics import definitions as metrics
from imagegen.queue import Claim, DailyLimitError, Queue
from imagegen.replicate import (
    Accepted,
    Ambiguous,
    Failed,
    PollFailed,
    Prediction,
    Refused,
    ReplicateClient,
    Reply,
    Running,
    Succeeded,
    boottime,
    facts,
    outcomes,
)
from imagegen.worker import crash_points
from imagegen.worker.database_retry import DatabaseRetry, LostLeaseError, ShutdownError
from imagegen.worker.endings import Delay, Ending, Postponed, TurnedAway, Until
from imagegen.worker.gate import Gate, Permit
from imagegen.worker.image_copies import ImageCopies
from imagegen.worker.poll_schedule import PollSchedule
from imagegen.worker.reconciliation import OF_ANOTHER_ACCOUNT, Reconciler
from imagegen.worker.settlement import Settlement, log_fields

# A shorter wait for the create rate is spent in the slot; a longer one is a time in the row.
SHORT_WAIT_SECONDS = 1.0
# Replicate itself ends a prediction after Cancel-After; this much later it surely has.
OVERDUE_SECONDS = 60.0
# After this many failed polls in a row, nothing new is sent.
FAILED_POLLS_IN_A_ROW = 3
# A prediction may be unknown to GET for a while after its creation.
MISSING_SECONDS = 60.0

WITHDRAWN = TurnedAway(
    Refused(Reason.WITHDRAWN, "the token no longer waits for an image"), Delay(0.0)
)
EXPIRED = Failed(
    Kind.DATA_REMOVED, "the prediction succeeded, and its image has expired at Replicate since"
)
ENDLESS = Failed(Kind.TRANSIENT, "Replicate neither ended nor cancelled the prediction")

Step = tuple[Claim, Ending]


class GenerationRunner:
    """Runs the generations of one worker; its slots call it at the same time."""

    def __init__(
        self,
        settings: Settings,
        *,
        queue: Queue,
        client: ReplicateClient,
        gate: Gate,
        retry: DatabaseRetry,
        copies: ImageCopies | None = None,
    ) -> None:
        """`copies` keeps a copy of each image; None: none is kept."""
        self._settings = settings
        self._queue = queue
        self._client = client
        self._gate = gate
        self._retry = retry
        self._reconciler = Reconciler(settings, queue, client, retry)
        self._settlement = Settlement(settings, queue, retry, copies)
        self._schedule = PollSchedule()
        self._overdue_seconds = settings.cancel_after_seconds + OVERDUE_SECONDS
        # Image URLs are https, unless the API itself is on this machine.
        self._http_images = urlsplit(settings.replicate_base_url).hostname in LOOPBACK
        self._keeps_images = copies is not None

    def run(self, first: Claim) -> None:
        """Bring a token to its image, its next attempt, its failure, or another worker."""
        claim = first
        following: Claim | None = first
        try:
            while following is not None:
                claim = following
                is_admitted = claim is first and not claim.adopted
                following = self._settlement.settle(*self._generate(claim, is_admitted))
        except LostLeaseError:
            metrics.LOST_LEASES.inc()
            log.warning("generation.lease.lost", extra=log_fields(claim))
        except ShutdownError:
            log.info("generation.handed_over", extra=log_fields(claim))
        finally:
            for each in (first, claim):
                self._gate.release_probe(each.generation_id)

    def _generate(self, claim: Claim, is_admitted: bool) -> Step:
        """Run one generation to its ending. `is_admitted`: the gate has counted it already."""
        crash_points.reach("claimed")
        if claim.prediction_id:
            return self._poll(claim, claim.prediction_id)
        if claim.requested_at:
            return self._find(claim)
        if not claim.wanted:
            return claim, WITHDRAWN
        try:
            prompt = claim.prompt or prompts.clean(
                claim.author_prompt, self._settings.default_prompt
            )
        except prompts.InvalidPromptError as problem:
            return claim, Failed(Kind.INVALID_PROMPT, str(problem))
        return self._request(claim, prompt, is_admitted)

    def _request(self, claim: Claim, prompt: str, is_admitted: bool) -> Step:
        """Commit that a request leaves (law 1), send it, and follow what it made."""
        if not is_admitted:
            permit = self._wait_for_permit(claim)
            if permit.wait_seconds:
                return claim, Postponed(
                    Until.GATE_OPENS,
                    permit.wait_seconds,
                    age_seconds=claim.opened_seconds_ago,
                    reason=permit.reason,
                )
        match self._reconciler.find_late(claim) or self._reconciler.find_forgotten(claim, prompt):
            case Prediction() as late:
                return self._take(claim, late, prompt)
            case PollFailed(message):
                trouble = Refused(Reason.UNAVAILABLE, message)
                delay = self._gate.record_refusal(trouble, claim.generation_id)
                return claim, Postponed(Until.GATE_OPENS, delay.seconds)
            case Failed() | Postponed() as ending:
                return claim, ending
        model, account = self._settings.model, self._client.account()
        recorded_at = 0.0  # by `boottime`; no later than `requested_at`

        def record() -> Claim | None:
            nonlocal recorded_at
            recorded_at = boottime()
            return self._queue.record_request(claim, prompt=prompt, model=model, account=account)

        try:
            claim = self._retry.fenced(record)
        except DailyLimitError:
            return claim, Postponed(Until.DAILY_LIMIT_ADMITS)
        crash_points.reach("requested")
        # If this process stood still here, another worker would find no prediction in Replicate's
        # list after the settle time, and send a request of its own.
        send_by = recorded_at + self._settings.settle_seconds * SEND_WITHIN
        reply = self._client.create(claim.model, self._inputs(claim), send_by=send_by)
        outcome = outcomes.of_create(reply, self._seed(claim))
        crash_points.reach("posted")
        match outcome:
            case Accepted(prediction):
                return self._accept(claim, prediction)
            case Refused() as refused:
                delay = self._gate.record_refusal(refused, claim.generation_id)
                return claim, TurnedAway(refused, delay)
            case Failed() as failed:
                self._gate.record_accepted()
                return claim, failed
            case Ambiguous(message):
                trouble = Refused(Reason.UNAVAILABLE, message)
                self._gate.record_refusal(trouble, claim.generation_id)
                log.warning("prediction.create.unknown", extra=log_fields(claim, error=message))
                return self._find(claim)

    def _wait_for_permit(self, claim: Claim) -> Permit:
        """Sleep through short waits for the create rate; return what takes longer."""
        generation_id = claim.generation_id
        while True:
            permit = self._gate.admit_waiting(generation_id)
            if not 0.0 < permit.wait_seconds < SHORT_WAIT_SECONDS:
                return permit
            self._retry.sleep(permit.wait_seconds)

    def _find(self, claim: Claim) -> Step:
        """Look for the prediction of a request without an answer."""
        found = self._reconciler.find(claim)
        return self._accept(claim, found) if isinstance(found, Prediction) else (claim, found)

    def _inputs(self, claim: Claim) -> dict[str, Any]:
        marker = self._settings.marker_input
        marked = {marker: claim.seed} if marker else {}
        return self._settings.model_input | {"prompt": claim.prompt} | marked

    def _seed(self, claim: Claim) -> int | None:
        """Return the seed by which Replicate's answers are matched, if the model takes one."""
        return claim.seed if self._settings.marker_input else None

    def _take(self, claim: Claim, late: Prediction, prompt: str) -> Step:
        """Take what an earlier request of the token made, in place of a request."""
        sent, account = late.prompt or prompt, self._client.account()
        claim = self._retry.fenced(
            lambda: self._queue.record_found(claim, late.id, prompt=sent, account=account)
        )
        return self._watch(claim, late.id)

    def _accept(self, claim: Claim, prediction: Prediction) -> Step:
        """Commit the id before anything else happens (law 1)."""
        claim = self._retry.fenced(lambda: self._queue.record_prediction(claim, prediction.id))
        return self._watch(claim, prediction.id)

    def _watch(self, claim: Claim, prediction_id: str) -> Step:
        """Count a prediction that was accepted, and poll it."""
        crash_points.reach("identified")
        self._gate.record_accepted()
        metrics.ATTEMPTS.labels("fallback" if claim.fallback else "author").inc()
        return self._poll(claim, prediction_id)

    def _poll(self, claim: Claim, prediction_id: str) -> Step:
        """Poll a prediction until it ends."""
        started = last_known = time.monotonic()
        waits = self._schedule.waits()
        failed_polls = 0
        wait_seconds = 0.0 if claim.adopted else next(waits)
        while True:
            self._retry.sleep(wait_seconds)
            outcome = self._outcome(self._client.get(prediction_id))
            crash_points.reach("looked")
            now = time.monotonic()
            age_seconds = (claim.requested_seconds_ago or 0.0) + now - started
            failed_polls = self._count_failed_polls(claim, outcome, failed_polls)
            match outcome:
                case Succeeded() if age_seconds > facts.RETENTION_SECONDS + self._overdue_seconds:
                    return claim, EXPIRED
                case Succeeded():
                    self._gate.record_image()
                    self._schedule.learn(outcome.total_seconds)
                    return claim, outcome
                case Failed(Kind.OVERLOADED, message):
                    trouble = Refused(Reason.UNAVAILABLE, message)
                    self._gate.record_overload(trouble, claim.generation_id)
                    return claim, outcome
                case Failed(Kind.UNREADABLE | Kind.NO_OUTPUT, message):
                    self._gate.record_unreadable(message, claim.generation_id)
                    return claim, outcome
                case Failed():
                    self._gate.record_completed()
                    return claim, outcome
                case Refused():
                    delay = self._gate.record_overload(outcome, claim.generation_id)
                    return claim, TurnedAway(outcome, delay)
                case Running() if age_seconds > self._overdue_seconds:
                    return claim, self._end_overdue(claim, prediction_id, age_seconds)
                case PollFailed(message, missing=True) if now - last_known > MISSING_SECONDS:
                    return claim, self._end_missing(claim, prediction_id, message, age_seconds)
                case PollFailed(message, missing=False) if age_seconds > self._overdue_seconds:
                    return claim, _poll_later(message, age_seconds)
                case Running() | PollFailed(missing=False):
                    last_known = now
            wait_seconds = next(waits)

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
        """A prediction that GET does not know is gone only if the list does not hold it either."""
        if self._reconciler.is_of_another_account(claim):
            return OF_ANOTHER_ACCOUNT
        if self._reconciler.knows(claim, prediction_id) is False:
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
                return ended
            # What it still shows as running then has been forgotten there.
            case Running() if age_seconds > facts.LONGEST_PREDICTION_SECONDS + OVERDUE_SECONDS:
                return ENDLESS
            case PollFailed(message):
                return _poll_later(f"it cannot be cancelled: {message}", age_seconds)
            case _:
                return Postponed(Until.PREDICTION_ENDS)

    def _outcome(self, reply: Reply) -> Running | Succeeded | Failed | Refused | PollFailed:
        return outcomes.of_get(
            reply, http_allowed=self._http_images, data_allowed=self._keeps_images
        )


def _poll_later(message: str, age_seconds: float) -> Postponed:
    """Hold no slot for a prediction that cannot be seen."""
    return Postponed(Until.PREDICTION_IS_SEEN, age_seconds=age_seconds, why=message)
