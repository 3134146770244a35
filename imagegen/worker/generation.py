"""The recipe for one token, from its claim to its image.

Check the prompt, commit that a request leaves, POST, commit the prediction's id, look until it
ends, and close the generation in one statement. An adopted generation enters where its
predecessor left it: at the look, or at Replicate's list when nobody knows what became of the POST.
"""

import time
from dataclasses import dataclass
from typing import Any

from imagegen import prompts
from imagegen.failures import Kind, Reason
from imagegen.logs import log
from imagegen.metrics import definitions as metrics
from imagegen.queue import Claim, DailyLimitError, Queue
from imagegen.replicate import (
    Accepted,
    Failed,
    Prediction,
    Provider,
    Refused,
    Reply,
    Running,
    Succeeded,
    Unknown,
    Unseen,
    outcomes,
)
from imagegen.worker import crash_points
from imagegen.worker.database_retry import HandingOverError, LostLeaseError, Patience
from imagegen.worker.gate import Delay, Gate, Turn
from imagegen.worker.poll_schedule import Pace
from imagegen.worker.reconciliation import Reconciler
from imagegen.worker.settlement import Closer, about

# How soon a generation that the daily limit holds back asks again.
DAILY_LIMIT_AGAIN_SECONDS = 60.0
# A pace of more than one a second is waited for in the slot; anything else is a time in the row.
SHORT_WAIT_SECONDS = 1.0
# The part of the settle time within which a request leaves; the rest is for it to be listed.
LEAVES_WITHIN = 0.5
# Replicate itself ends a prediction after Cancel-After; this much later it surely has.
OVERDUE_SECONDS = 60.0
# So many looks in a row that failed are no hiccup: nothing new is asked of such a provider.
LOOKS_FAILED = 3
# A prediction may be unknown to GET for a while after its creation.
MISSING_SECONDS = 60.0
# When a prediction that will not end or be seen is looked at again; meanwhile it holds no slot.
LOOK_AGAIN_SECONDS = 30.0
# Replicate deletes an image an hour after it was made: its URL may outlive it.
EXPIRED_SECONDS = 3600.0
# The longest that Replicate lets anything run: what it still shows then has been forgotten there.
LONGEST_PREDICTION_SECONDS = 1800.0


@dataclass(frozen=True)
class Options:
    """What of the settings the recipe uses."""

    model_input: dict[str, Any]
    marker: str | None  # the input by which a prediction is known again
    default_prompt: str | None
    settle_seconds: float
    give_up_after_seconds: float
    cancel_after_seconds: float
    http_images: bool  # only where the API itself is on this machine


class Recipe:
    """One worker's way with a token; its slots run it at the same time."""

    def __init__(
        self,
        *,
        queue: Queue,
        provider: Provider,
        gate: Gate,
        closer: Closer,
        options: Options,
        patience: Patience,
    ) -> None:
        self._queue = queue
        self._provider = provider
        self._gate = gate
        self._close = closer
        self._options = options
        self._patience = patience
        self._reconciler = Reconciler(
            queue=queue,
            provider=provider,
            closer=closer,
            patience=patience,
            marked=options.marker is not None,
            settle_seconds=options.settle_seconds,
            give_up_after_seconds=options.give_up_after_seconds,
        )
        self._pace = Pace()

    def run(self, first: Claim) -> None:
        """Bring a token to its image, to its next attempt, to its failure, or to another worker."""
        claim = first
        following: Claim | None = first
        try:
            while following is not None:
                claim = following
                following = self._generate(claim, has_turn=claim is first and not claim.adopted)
        except LostLeaseError:
            metrics.LOST_LEASES.inc()
            log.warning("generation.lease.lost", extra=about(claim))
        except HandingOverError:
            log.info("generation.handed_over", extra=about(claim))
        finally:
            for each in (first, claim):
                self._gate.came_back(each.generation_id)

    def _generate(self, claim: Claim, *, has_turn: bool) -> Claim | None:
        """One generation, which `has_turn` where it was claimed for one. Returns the one that
        follows at once, if any: the fallback prompt."""
        crash_points.point("claimed")
        if claim.prediction_id:
            return self._watch(claim, claim.prediction_id)
        if claim.requested_at:
            return self._find(claim)
        if not claim.wanted:
            message = "the token no longer waits for an image"
            return self._close.refuse(claim, Refused(Reason.WITHDRAWN, message), Delay(0.0))
        try:
            prompt = claim.prompt or prompts.clean(
                claim.author_prompt, self._options.default_prompt
            )
        except prompts.InvalidPromptError as problem:
            return self._close.fail(claim, Failed(Kind.INVALID_PROMPT, str(problem)))
        return self._request(claim, prompt, has_turn=has_turn)

    def _request(self, claim: Claim, prompt: str, *, has_turn: bool) -> Claim | None:
        if not has_turn:
            turn = self._wait_for_turn(claim)
            if turn.reason and claim.opened_seconds_ago > self._options.give_up_after_seconds:
                refused = Refused(turn.reason, "the gate did not open in time")
                return self._close.refuse(claim, refused, Delay(turn.wait_seconds))
            if turn.wait_seconds:
                return self._close.postpone(claim, turn.wait_seconds)
        late = self._reconciler.find_late(claim)
        if isinstance(late, Unseen):
            trouble = Refused(Reason.UNAVAILABLE, late.message)
            delay = self._gate.close(trouble, claim.generation_id)
            return self._close.postpone(claim, delay.seconds)
        recorded_at = 0.0  # monotonic; no later than `requested_at`

        def record() -> Claim | None:
            nonlocal recorded_at
            recorded_at = time.monotonic()
            return self._queue.record_request(claim, prompt)

        try:
            claim = self._patience.held(record)
        except DailyLimitError:
            return self._close.postpone(claim, DAILY_LIMIT_AGAIN_SECONDS)
        if late:
            return self._accept(claim, late)
        crash_points.point("requested")
        # Were this process to stand still here, another one would find no prediction in Replicate's
        # list when it has settled, and ask for one of its own.
        leaves_by = recorded_at + self._options.settle_seconds * LEAVES_WITHIN
        reply = self._provider.create(claim.model, self._inputs(claim), leaves_by=leaves_by)
        outcome = outcomes.of_create(reply, self._seed(claim))
        crash_points.point("posted")
        match outcome:
            case Accepted(prediction):
                return self._accept(claim, prediction)
            case Refused() as refused:
                return self._close.refuse(
                    claim, refused, self._gate.close(refused, claim.generation_id)
                )
            case Failed() as failed:
                self._gate.open()
                return self._close.fail(claim, failed)
            case Unknown(message):
                self._gate.close(Refused(Reason.UNAVAILABLE, message), claim.generation_id)
                log.warning("prediction.create.unknown", extra=about(claim, error=message))
                return self._find(claim)

    def _wait_for_turn(self, claim: Claim) -> Turn:
        """Wait as shortly as for the budget of other requests; what takes longer is told."""
        generation_id = claim.generation_id
        while 0.0 < (turn := self._gate.goes_too(generation_id)).wait_seconds < SHORT_WAIT_SECONDS:
            self._patience.pause(turn.wait_seconds)
        return turn

    def _find(self, claim: Claim) -> Claim | None:
        """Look for the prediction of a request that nobody knows the answer to."""
        found = self._reconciler.find(claim)
        return self._accept(claim, found) if found else None

    def _inputs(self, claim: Claim) -> dict[str, Any]:
        marker = {self._options.marker: claim.seed} if self._options.marker else {}
        return self._options.model_input | {"prompt": claim.prompt} | marker

    def _seed(self, claim: Claim) -> int | None:
        """By what Replicate's answers tell this generation, where the model takes a seed."""
        return claim.seed if self._options.marker else None

    def _accept(self, claim: Claim, prediction: Prediction) -> Claim | None:
        """Commit the id before anything else happens (law 1)."""
        claim = self._patience.held(lambda: self._queue.record_prediction(claim, prediction.id))
        crash_points.point("identified")
        self._gate.open()
        metrics.ATTEMPTS.labels("fallback" if claim.fallback else "author").inc()
        return self._watch(claim, prediction.id)

    def _watch(self, claim: Claim, prediction_id: str) -> Claim | None:
        """Look at a prediction until it ends."""
        started = last_known = time.monotonic()
        overdue_seconds = self._options.cancel_after_seconds + OVERDUE_SECONDS
        waits = self._pace.waits()
        failed_looks = 0
        wait_seconds = 0.0 if claim.adopted else next(waits)
        while True:
            self._patience.pause(wait_seconds)
            seen = self._look(self._provider.get(prediction_id))
            crash_points.point("looked")
            now = time.monotonic()
            age_seconds = (claim.requested_seconds_ago or 0.0) + now - started
            failed_looks = self._count_failed_looks(claim, seen, failed_looks)
            match seen:
                case Succeeded() if age_seconds > EXPIRED_SECONDS + overdue_seconds:
                    expired = (
                        "the prediction succeeded, and its image has expired at Replicate since"
                    )
                    return self._close.fail(claim, Failed(Kind.DATA_REMOVED, expired))
                case Succeeded():
                    self._gate.ended_well()
                    self._pace.learn(seen.total_seconds)
                    return self._close.succeed(claim, seen)
                case Failed(Kind.OVERLOADED, message):
                    trouble = Refused(Reason.UNAVAILABLE, message)
                    self._gate.ended_badly(trouble, claim.generation_id)
                    return self._close.fail(claim, seen)
                case Failed():
                    self._gate.ended_well()
                    return self._close.fail(claim, seen)
                case Refused():
                    delay = self._gate.ended_badly(seen, claim.generation_id)
                    return self._close.refuse(claim, seen, delay)
                case Running() if age_seconds > overdue_seconds:
                    return self._end_overdue(claim, prediction_id, age_seconds)
                case Unseen(message, missing=True) if now - last_known > MISSING_SECONDS:
                    return self._end_missing(claim, prediction_id, message, age_seconds)
                case Unseen(message, missing=False) if age_seconds > overdue_seconds:
                    return self._look_later(claim, message, age_seconds)
                case Running() | Unseen(missing=False):
                    last_known = now
            wait_seconds = next(waits)

    def _count_failed_looks(self, claim: Claim, seen: object, before: int) -> int:
        """How many looks in a row have failed; too many close the gate."""
        match seen:
            case Unseen(message, reason=Reason() as reason):
                if before + 1 == LOOKS_FAILED:
                    self._gate.close(Refused(reason, message), claim.generation_id)
                return before + 1
            case _:
                return 0

    def _end_missing(
        self, claim: Claim, prediction_id: str, message: str, age_seconds: float
    ) -> Claim | None:
        """A prediction that is unknown by its id is gone only when the list does not hold it."""
        if self._reconciler.knows(claim, prediction_id) is False:
            log.error("prediction.lost", extra=about(claim, error=message))
            gone = f"Replicate no longer knows the prediction, perhaps paid for: {message}"
            return self._close.fail(claim, Failed(Kind.GONE, gone))
        return self._look_later(claim, message, age_seconds)

    def _look_later(self, claim: Claim, message: str, age_seconds: float) -> Claim | None:
        """Hold no slot for what cannot be seen; give up when that lasts for too long."""
        if age_seconds > self._options.give_up_after_seconds:
            unseen = f"the prediction cannot be read, and is perhaps paid for: {message}"
            return self._close.fail(claim, Failed(Kind.UNRESOLVED, unseen))
        log.warning("prediction.unseen", extra=about(claim, error=message))
        return self._close.postpone(claim, LOOK_AGAIN_SECONDS)

    def _end_overdue(self, claim: Claim, prediction_id: str, age_seconds: float) -> Claim | None:
        """Cancel a prediction that Replicate should have ended itself. Only one that has ended
        may be followed by another, or one that cannot be running any more."""
        log.warning("prediction.overdue", extra=about(claim))
        match self._look(self._provider.cancel(prediction_id)):
            case Succeeded() as image:
                return self._close.succeed(claim, image)
            case Failed() as failed:
                return self._close.fail(claim, failed)
            case Running() if age_seconds > LONGEST_PREDICTION_SECONDS + OVERDUE_SECONDS:
                message = "Replicate neither ended nor cancelled the prediction"
                return self._close.fail(claim, Failed(Kind.TRANSIENT, message))
            case Unseen(message):
                return self._look_later(claim, f"it cannot be cancelled: {message}", age_seconds)
            case _:
                return self._close.postpone(claim, LOOK_AGAIN_SECONDS)

    def _look(self, reply: Reply) -> Running | Succeeded | Failed | Refused | Unseen:
        return outcomes.of_get(reply, http_allowed=self._options.http_images)
