"""Settles a generation and its token: decide, then one write, one count and one log line."""

import logging
from dataclasses import replace
from urllib.parse import urlsplit

from imagegen import backoff
from imagegen.config import Settings, copy_url, url_below
from imagegen.failures import FAILURES, Kind, Reason
from imagegen.logs import log
from imagegen.metrics import definitions as metrics
from imagegen.queue import (
    Applied,
    Claim,
    Complete,
    Decision,
    FailAttempt,
    Postpone,
    Queue,
    Requeue,
    UseFallback,
)
from imagegen.replicate import DATA, Failed
from imagegen.worker import crash_points
from imagegen.worker.closings import write
from imagegen.worker.copy_stores import CopyError
from imagegen.worker.costs import with_cost
from imagegen.worker.database_retry import DatabaseRetry
from imagegen.worker.decisions import (
    NOTHING_BEFORE,
    copy_again_seconds,
    decide,
    depends_on_history,
)
from imagegen.worker.endings import Ending, Kept, Postponed, Until
from imagegen.worker.image_copies import LONGEST_SECONDS, Copy, ImageCopies

# Tokens that failed at the same moment are tried again at different moments.
RETRY_JITTER = 0.2
# After this many failed tries in a row, the image is copied later or handed on without a copy.
COPY_TRIES = 3
COPY_AGAIN_SECONDS = 1.0
LOST = Failed(
    Kind.DATA_REMOVED, "the prediction succeeded, but its image was deleted before it was copied"
)
COPYING_SECONDS = COPY_TRIES * (LONGEST_SECONDS + COPY_AGAIN_SECONDS)  # at most, for a slot


class Settlement:
    """Settles the generations of one worker's slots."""

    def __init__(
        self, settings: Settings, queue: Queue, retry: DatabaseRetry, copies: ImageCopies | None
    ) -> None:
        """`copies` keeps a copy of each image; None: none is kept."""
        self._settings = settings
        self._queue = queue
        self._retry = retry
        self._copies = copies
        self._set_aside: set[int] = set()  # tokens

    def settle(self, claim: Claim, ending: Ending) -> Claim | None:
        """Write, count and log what becomes of a generation. Return the generation that follows at
        once, with the fallback prompt, if there is one.

        Raises LostLeaseError and ShutdownError.
        """
        decision = self._decide(claim, ending)
        match decision:
            case Complete(path=None):
                decision = self._with_copy(claim, decision)
            case FailAttempt():
                jittered = backoff.jittered(decision.retry_seconds, RETRY_JITTER)
                decision = replace(decision, retry_seconds=jittered)
        applied = write(self._queue, self._retry, claim, decision)
        if applied.refused_because is not None:
            _report_refused(claim, decision, applied)
            return None
        if isinstance(ending, Kept) and not isinstance(decision, Postpone):
            self._retry.until_available(self._queue.hasten_closings)
        if not isinstance(decision, Postpone):
            crash_points.reach("closed")
        elif isinstance(ending, Postponed) and ending.until is Until.PREDICTION_IS_SEEN:
            log.warning("prediction.unseen", extra=log_fields(claim, error=ending.why))
        elif isinstance(ending, Postponed) and ending.until is Until.OUTPUT_IS_READ:
            level = logging.DEBUG if claim.postponed else logging.WARNING
            log.log(level, "prediction.unreadable", extra=log_fields(claim, error=ending.why))
        report(claim, decision, applied)
        if isinstance(decision, Requeue) and decision.reason == Reason.SET_ASIDE:
            self._report_set_aside(claim, decision.message)
        return applied.fallback

    def _decide(self, claim: Claim, ending: Ending) -> Decision:
        history = NOTHING_BEFORE
        if isinstance(ending, Failed) and depends_on_history(ending):
            history = self._retry.fenced(lambda: self._queue.history(claim))
        decision = decide(claim, ending, self._settings, history)
        return with_cost(decision, claim, ending, self._settings)

    def _report_set_aside(self, claim: Claim, reason: str) -> None:
        """Log once that a token waits until a person has changed something."""
        if claim.token_id not in self._set_aside:
            self._set_aside.add(claim.token_id)
            log.warning("token.set_aside", extra=log_fields(claim, reason=reason))

    def _with_copy(self, claim: Claim, complete: Complete) -> Decision:
        """Return the decision with the copy of the image, if copies are kept and it can be made.

        An image within the output (a data: URI) is handed on with the URL of its copy; if copies
        have a base URL, any other image is too. If the copy fails in these two cases, the token is
        postponed while Replicate has the image. Shortly before the image is deleted, the token is
        handed on with Replicate's URL. If that is dead already, the generation fails instead.
        """
        if self._copies is None:
            return complete
        is_data = complete.url.startswith(DATA)
        base = self._settings.image_url_base
        made = self._copy(self._copies, claim, complete.url)
        if isinstance(made, Copy):
            metrics.COPIES.labels("kept").inc()
            return replace(
                complete,
                url=copy_url(made.path) if is_data else complete.url,
                path=made.path,
                sha256=made.sha256,
                handed_on=url_below(base, made.path) if base else None,
            )
        metrics.COPIES.labels("failed").inc()
        if not (is_data or base):
            return complete
        again_seconds = copy_again_seconds(claim.requested_seconds_ago or 0.0, is_data=is_data)
        if again_seconds is not None:
            return Postpone(again_seconds)
        return self._decide(claim, LOST) if made.is_lost else complete

    def _copy(self, copies: ImageCopies, claim: Claim, url: str) -> Copy | CopyError:
        """Return the copy of an image, or the error of the last of several tries. A token that was
        postponed for its copy gets one try each time."""
        name, tries = (
            f"{claim.token_id}-{claim.generation_id}",
            1 if claim.postponed else COPY_TRIES,
        )
        while True:
            tries -= 1
            try:
                return copies.keep(url, name)
            except CopyError as error:
                fields = log_fields(claim, error=str(error), left=tries)
                log.warning("image.copy.failed", extra=fields)
                if not tries:
                    return error
            self._retry.sleep(COPY_AGAIN_SECONDS)


def _report_refused(claim: Claim, decision: Decision, applied: Applied) -> None:
    fields: dict[str, object] = {"error": applied.refused_because}
    if isinstance(decision, Complete):
        fields["url"] = decision.url
    fields["retry_seconds"] = round(applied.retry_seconds)
    log.error("token.closing.refused", extra=log_fields(claim) | fields)


def report(claim: Claim, decision: Decision, applied: Applied) -> None:
    """Count and log a decision that was written."""
    match decision:
        case Complete(url=url):
            metrics.GENERATIONS.labels("succeeded").inc()
            metrics.IMAGES.inc(decision.images)
            metrics.GENERATION_SECONDS.observe(applied.duration_seconds)
            metrics.TOKEN_SECONDS.observe(_seconds_since_mint(claim, applied))
            metrics.PREDICT_SECONDS.inc(decision.predict_seconds or 0.0)
            fields = log_fields(claim, applied, url=url, host=urlsplit(url).hostname)
            if decision.handed_on:
                fields["handed_on_url"] = decision.handed_on
            log.info("token.generation.succeeded", extra=fields)
        case Requeue(reason=reason):
            metrics.GENERATIONS.labels("refused").inc()
            metrics.REFUSALS.labels(reason).inc()
            fields = log_fields(claim, applied, reason=reason, error=decision.message)
            log.info("token.refused", extra=fields)
            if applied.failed:
                metrics.FAILURES.labels(Kind.GIVEN_UP).inc()
                metrics.TOKENS_FAILED.labels(Kind.GIVEN_UP).inc()
                log.error("token.generation.failed", extra=fields | {"kind": Kind.GIVEN_UP})
        case UseFallback(kind=kind):
            _count_failure(kind)
            fields = log_fields(claim, kind=kind, error=decision.message, prompt=claim.prompt)
            log.warning("token.censored", extra=fields)
            _report_payment(claim, kind)
        case FailAttempt(kind=kind):
            _count_failure(kind)
            if applied.failed:
                metrics.TOKENS_FAILED.labels(kind).inc()
            if applied.waits_again:
                _report_payment(claim, kind)
            event = "token.generation.retried" if applied.waits_again else "token.generation.failed"
            log.warning(event, extra=log_fields(claim, applied, kind=kind, error=decision.message))


def _seconds_since_mint(claim: Claim, applied: Applied) -> float:
    """Return the seconds from the mint to the end of a generation, or from its claim if the time of
    the mint is infinite or in the future."""
    waited_seconds = claim.waited_seconds - claim.opened_seconds_ago  # from the mint to the claim
    return max(waited_seconds, 0.0) + applied.duration_seconds


def _count_failure(kind: str) -> None:
    metrics.GENERATIONS.labels("failed").inc()
    metrics.FAILURES.labels(kind).inc()


def _report_payment(claim: Claim, kind: str) -> None:
    """Count and log that another prediction follows one that was paid for, or perhaps was."""
    if FAILURES[Kind(kind)].may_be_paid_twice:
        metrics.PAID_TWICE.labels(kind).inc()
        log.error("token.paid_twice", extra=log_fields(claim, reason=kind))


def log_fields(claim: Claim, applied: Applied | None = None, **more: object) -> dict[str, object]:
    """Return the fields that every log line of a generation has."""
    fields: dict[str, object] = {
        "token_id": claim.token_id,
        "generation_id": claim.generation_id,
        "attempt": claim.attempt,
    }
    if claim.prediction_id:
        fields["prediction_id"] = claim.prediction_id
    if applied:
        fields["duration_seconds"] = round(applied.duration_seconds, 3)
    return fields | more
