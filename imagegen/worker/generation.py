"""Runs one token from its claim to its ending.

Check the prompt, commit that a request leaves, POST, commit the prediction's id, poll until it
ends, and settle. An adopted generation enters where its last worker stopped: at the poll, or at
Replicate's list if a request left and no prediction is known.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any

from imagegen.config import Settings, copy_url, prompts, url_below
from imagegen.failures import SEND_WITHIN, Kind, Reason
from imagegen.logs import log
from imagegen.metrics import definitions as metrics
from imagegen.queue import Claim, Complete, DailyLimitError, Decision, PausedError, Queue
from imagegen.replicate import (
    Accepted,
    Ambiguous,
    Failed,
    Marker,
    Prediction,
    Refused,
    ReplicateClient,
    boottime,
    facts,
    outcomes,
)
from imagegen.worker import crash_points
from imagegen.worker.database_retry import DatabaseRetry, LostLeaseError, ShutdownError
from imagegen.worker.endings import Delay, Ending, Kept, Postponed, TurnedAway, Until
from imagegen.worker.gate import Gate, Permit
from imagegen.worker.image_copies import ImageCopies
from imagegen.worker.marker_seen import MarkerSeen
from imagegen.worker.polling import EXPIRED, Poller
from imagegen.worker.reconciliation import Reconciler
from imagegen.worker.settlement import Settlement, log_fields

# A shorter wait for the create rate is spent in the slot; a longer one is a time in the row.
SHORT_WAIT_SECONDS = 1.0

WITHDRAWN = TurnedAway(
    Refused(Reason.WITHDRAWN, "the token no longer waits for an image"), Delay(0.0)
)
# Nothing was sent for the token: it waits with the others, and an operator may hold it.
PAUSED = TurnedAway(Refused(Reason.PAUSED, "an operator has paused imagegen"), Delay(0.0))
# The author may come: an application may write a token before its author.
NO_AUTHOR = TurnedAway(
    Refused(Reason.SET_ASIDE, "its author is not in the table authors"), Delay(0.0, escalates=True)
)

Step = tuple[Claim, Ending]


class GenerationRunner:
    """Runs the generations of one worker. Safe between its slots."""

    def __init__(
        self,
        settings: Settings,
        *,
        queue: Queue,
        client: ReplicateClient,
        gate: Gate,
        retry: DatabaseRetry,
        copies: ImageCopies | None = None,
        marker_seen: MarkerSeen | None = None,
    ) -> None:
        """`copies` keeps a copy of each image; None: none is kept. `marker_seen` is what other
        workers have seen too."""
        self._settings = settings
        self._marker = Marker.of_setting(settings.marker_input)
        self._queue = queue
        self._client = client
        self._gate = gate
        self._retry = retry
        self._reconciler = Reconciler(
            settings, queue, client, retry, marker_seen or MarkerSeen(settings)
        )
        self._settlement = Settlement(settings, queue, retry, copies)
        self._poller = Poller(
            settings,
            client=client,
            gate=gate,
            retry=retry,
            reconciler=self._reconciler,
            keeps_images=copies is not None,
        )

    def run(self, first: Claim) -> None:
        """Run a generation, and the fallback that may follow it, until it is settled, its lease is
        lost, or the worker shuts down."""
        claim = first
        following: Claim | None = first
        try:
            while following is not None:
                claim = following
                is_new = claim is first and not claim.adopted
                is_admitted = is_new and not self._gate.was_too_late(claim.generation_id)
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
        """Run one generation; return it and its ending. `is_admitted`: the gate admitted it with
        its claim."""
        crash_points.reach("claimed")
        if claim.closing:
            return claim, _kept(claim, claim.closing, self._settings.image_url_base)
        if claim.prediction_id:
            return claim, self._poller.poll(claim, claim.prediction_id)
        if claim.requested_at:
            return self._find(claim)
        if not claim.wanted:
            return claim, WITHDRAWN
        if not (claim.prompt or claim.has_author):
            return claim, NO_AUTHOR
        try:
            prompt = claim.prompt or self._first_prompt(claim)
        except prompts.InvalidPromptError as problem:
            return claim, Failed(Kind.INVALID_PROMPT, str(problem))
        return self._request(claim, prompt, is_admitted)

    def _first_prompt(self, claim: Claim) -> str:
        """Return the prompt of a generation that has none yet. Raises InvalidPromptError."""
        if claim.fallback:  # an operator asked for it
            return self._settings.fallback_prompt
        return prompts.clean(claim.author_prompt, self._settings.default_prompt)

    def _request(self, claim: Claim, prompt: str, is_admitted: bool) -> Step:
        """Commit that a request leaves (law 1), send it, and follow the prediction that it made."""
        if not is_admitted:
            permit = self._wait_for_permit(claim)
            if permit.reason is Reason.PAUSED:
                return claim, PAUSED
            if permit.wait_seconds:
                return claim, Postponed(
                    Until.GATE_OPENS,
                    permit.wait_seconds,
                    age_seconds=claim.opened_seconds_ago,
                    reason=permit.reason,
                )
        match self._find_earlier(claim, prompt):
            case Prediction() as late:
                return self._take(claim, late, prompt)
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
        except PausedError:
            return claim, PAUSED
        sent_at = boottime()
        crash_points.reach("requested")
        # If this process stood still here, another worker would find no prediction in Replicate's
        # list after the settle time, and send a request of its own.
        send_by = recorded_at + self._settings.settle_seconds * SEND_WITHIN
        reply = self._client.create(claim.model, self._inputs(claim), send_by=send_by)
        outcome = outcomes.of_create(
            reply,
            self._seed(claim),
            prompt=claim.prompt,
            policy_pattern=self._settings.content_policy_words,
        )
        crash_points.reach("posted")
        match outcome:
            case Accepted(prediction):
                self._reconciler.check_marker(claim, prediction)
                return self._accept(claim, prediction)
            case Refused(Reason.INTERCEPTED) as refused:
                return claim, TurnedAway(refused, self._gate.record_intercepted(refused, claim))
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
                return self._find(replace(claim, requested_seconds_ago=boottime() - sent_at))

    def _find_earlier(self, claim: Claim, prompt: str) -> Prediction | Ending | None:
        """Look for what earlier requests of the token made. If the API token is refused, the gate
        closes: requests of all tokens would be refused."""
        found = self._reconciler.find_late(claim) or self._reconciler.find_forgotten(claim, prompt)
        if isinstance(found, Postponed) and found.reason is not None:
            self._gate.record_refusal(Refused(found.reason, found.why), claim.generation_id)
        return found

    def _wait_for_permit(self, claim: Claim) -> Permit:
        """Sleep through short waits for the create rate. Return the first permit with no wait or a
        longer one."""
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
        marked = {self._marker.name: self._marker.value(claim.seed)} if self._marker else {}
        return self._settings.model_input | {"prompt": claim.prompt} | marked

    def _seed(self, claim: Claim) -> int | None:
        """Return the seed by which Replicate's answers are matched, if the model takes one."""
        return claim.seed if self._marker else None

    def _take(self, claim: Claim, late: Prediction, prompt: str) -> Step:
        """Commit a prediction that an earlier request of the token made, and follow it: nothing is
        sent."""
        sent, account, made_at = late.prompt or prompt, self._client.account(), late.created_at
        if claim.doubt:  # `made_at` must not end it, whatever Replicate's clock shows
            noticed_at = datetime.fromisoformat(claim.doubt.noticed_at)
            made_at = min(made_at or noticed_at, noticed_at)
        claim = self._retry.fenced(
            lambda: self._queue.record_found(
                claim, late.id, prompt=sent, account=account, made_at=made_at
            )
        )
        return self._watch(claim, late.id)

    def _accept(self, claim: Claim, prediction: Prediction) -> Step:
        """Commit the prediction's id before anything else happens (law 1), and follow it."""
        claim = self._retry.fenced(lambda: self._queue.record_prediction(claim, prediction.id))
        return self._watch(claim, prediction.id)

    def _watch(self, claim: Claim, prediction_id: str) -> Step:
        """Count a prediction that was accepted, and poll it."""
        crash_points.reach("identified")
        self._gate.record_accepted()
        metrics.ATTEMPTS.labels("fallback" if claim.fallback else "author").inc()
        return claim, self._poller.poll(claim, prediction_id)


def _kept(claim: Claim, decision: Decision, base: str | None) -> Ending:
    """Return the ending of a generation whose decision the database refused before. An image with a
    copy gets the URL below `base`, if one is set; else that of its copy, if Replicate has deleted
    the image since."""
    is_expired = (claim.closing_refused_seconds or 0.0) > facts.RETENTION_SECONDS
    match decision:
        case Complete(path=str() as path) if base:
            return Kept(replace(decision, handed_on=url_below(base, path)))
        case Complete(path=str() as path) if is_expired and not decision.handed_on:
            return Kept(replace(decision, url=copy_url(path)))
        case Complete(handed_on=None) if is_expired:
            return EXPIRED
    return Kept(decision)
