"""How a generation ends: one write, one count and one log line for each way.

Each method returns the generation that follows at once, if there is one: only a refusal for
content has one, with the fallback prompt.
"""

import random
from dataclasses import replace
from urllib.parse import urlsplit

from imagegen.failures import Kind
from imagegen.logs import log
from imagegen.metrics import definitions as metrics
from imagegen.queue import Claim, Closed, Image, Queue
from imagegen.replicate import Failed, Refused, Succeeded
from imagegen.worker import crash_points
from imagegen.worker.database_retry import Patience
from imagegen.worker.gate import Delay
from imagegen.worker.image_copies import Copies, CopyError

MAX_ATTEMPTS = 3
# 1, 2, 4 s: long enough for a hiccup of one machine at Replicate's, short enough for a P95 of 60 s.
FIRST_RETRY_SECONDS = 1.0
RETRY_JITTER = 0.2
# 20 s, 10 min: an outage that shows only in what becomes of predictions burns no token.
OVERLOADED_RETRY_SECONDS = (20.0, 600.0)
# A download of an image is tried so often; its token goes on without a copy then.
COPY_TRIES = 3
COPY_AGAIN_SECONDS = 1.0

MAY_PASS = {
    Kind.TRANSIENT,
    Kind.OVERLOADED,
    Kind.STUBBORN,
    Kind.UNKNOWN,
    Kind.CANCELED,
    Kind.NO_OUTPUT,
}
# What the fallback prompt is for.
CENSORED = {Kind.CONTENT_POLICY, Kind.HELD_BACK}
# These were paid for, or perhaps were: what follows is a second payment, and never silent.
PAID_FOR = {Kind.NO_OUTPUT, Kind.HELD_BACK, Kind.CANCELED, Kind.GONE, Kind.DATA_REMOVED}


class Closer:
    """Closes generations for the recipe of one worker."""

    def __init__(
        self,
        queue: Queue,
        *,
        fallback_prompt: str,
        replace_lost: bool,
        copies: Copies | None,
        patience: Patience,
    ) -> None:
        """`copies` keeps a copy of each image; None: none is kept."""
        self._queue = queue
        self._copies = copies
        self._fallback_prompt = fallback_prompt
        self._replace_lost = replace_lost
        self._patience = patience

    def succeed(self, claim: Claim, image: Succeeded) -> Claim | None:
        kept = self._keep(claim, Image(image.image_url, image.predict_seconds, image.images))
        closed = self._patience.held(lambda: self._queue.close_succeeded(claim, kept))
        crash_points.point("closed")
        metrics.GENERATIONS.labels("succeeded").inc()
        metrics.IMAGES.inc(image.images)
        metrics.GENERATION_SECONDS.observe(closed.duration_seconds)
        metrics.PREDICT_SECONDS.inc(image.predict_seconds or 0.0)
        said = about(claim, closed, url=kept.url, host=urlsplit(kept.url).hostname)
        log.info("token.generation.succeeded", extra=said)
        return None

    def fail(self, claim: Claim, failed: Failed) -> Claim | None:
        match failed.kind:
            case kind if kind in CENSORED and not claim.fallback:
                return self._censor(claim, failed)
            case kind if kind in CENSORED:
                message = f"the fallback prompt was refused too: {failed.message}"
                return self._fail(claim, Failed(failed.kind, message), max_attempts=0)
            case Kind.STUBBORN if claim.previous_kind == Kind.STUBBORN:
                return self._fail(claim, failed, max_attempts=0)
            case kind if kind in MAY_PASS:
                return self._fail(claim, failed, max_attempts=MAX_ATTEMPTS)
            case Kind.GONE | Kind.DATA_REMOVED if self._replace_lost:
                return self._fail(claim, failed, max_attempts=MAX_ATTEMPTS)
            case _:
                return self._fail(claim, failed, max_attempts=0)

    def refuse(self, claim: Claim, refused: Refused, delay: Delay) -> Claim | None:
        """Replicate made no prediction: the token waits, uncharged (law 3), if not for ever."""
        closed = self._patience.held(
            lambda: self._queue.close_refused(
                claim, refused.reason, refused.message, delay.seconds, blames=delay.grows
            )
        )
        crash_points.point("closed")
        metrics.GENERATIONS.labels("refused").inc()
        metrics.REFUSALS.labels(refused.reason).inc()
        said = about(claim, closed, reason=refused.reason, error=refused.message)
        log.info("token.refused", extra=said)
        if closed.failed:
            metrics.FAILURES.labels(Kind.GIVEN_UP).inc()
            log.error("token.generation.failed", extra=said | {"kind": Kind.GIVEN_UP})
        return None

    def postpone(self, claim: Claim, again_seconds: float) -> Claim | None:
        """Hold no slot while there is nothing to do but wait."""
        self._patience.held(lambda: self._queue.postpone(claim, again_seconds))
        return None

    def _keep(self, claim: Claim, image: Image) -> Image:
        """The image with its copy, where one is kept and can be had: a lost copy loses no token."""
        if self._copies is None:
            return image
        for left in reversed(range(COPY_TRIES)):
            try:
                copy = self._copies.keep(image.url, f"{claim.token_id}-{claim.generation_id}")
            except CopyError as error:
                log.warning("image.copy.failed", extra=about(claim, error=str(error), left=left))
            else:
                metrics.COPIES.labels("kept").inc()
                return replace(image, path=copy.path, sha256=copy.sha256)
            if left:
                self._patience.pause(COPY_AGAIN_SECONDS)
        metrics.COPIES.labels("failed").inc()
        return image

    def _censor(self, claim: Claim, failed: Failed) -> Claim:
        fallback = self._patience.held(
            lambda: self._queue.close_censored(
                claim, failed.kind, failed.message, self._fallback_prompt
            )
        )
        crash_points.point("closed")
        _count_failure(failed.kind)
        said = about(claim, kind=failed.kind, error=failed.message, prompt=claim.prompt)
        log.warning("token.censored", extra=said)
        _count_payment(claim, failed.kind)
        return fallback

    def _fail(self, claim: Claim, failed: Failed, *, max_attempts: int) -> Claim | None:
        closed = self._patience.held(
            lambda: self._queue.close_failed(
                claim, failed.kind, failed.message,
                max_attempts=max_attempts,
                again_seconds=retry_seconds(claim.attempt, failed.kind),
            )
        )  # fmt: skip
        crash_points.point("closed")
        _count_failure(failed.kind)
        if closed.waits_again:
            _count_payment(claim, failed.kind)
        event = "token.generation.retried" if closed.waits_again else "token.generation.failed"
        log.warning(event, extra=about(claim, closed, kind=failed.kind, error=failed.message))
        return None


def _count_failure(kind: Kind) -> None:
    metrics.GENERATIONS.labels("failed").inc()
    metrics.FAILURES.labels(kind).inc()


def _count_payment(claim: Claim, kind: Kind) -> None:
    """Another prediction follows one that was paid for, or perhaps was."""
    if kind in PAID_FOR:
        metrics.PAID_TWICE.labels(kind).inc()
        log.error("token.paid_twice", extra=about(claim, reason=kind))


def retry_seconds(attempt: int, kind: Kind = Kind.TRANSIENT) -> float:
    """The time between a failed attempt, counted from 1, and the next: 1, 2, 4 s, with jitter;
    where Replicate is overloaded 20 s, then 10 minutes."""
    if kind is Kind.OVERLOADED:
        delay = OVERLOADED_RETRY_SECONDS[min(attempt, len(OVERLOADED_RETRY_SECONDS)) - 1]
    else:
        delay = FIRST_RETRY_SECONDS * float(2 ** min(attempt - 1, MAX_ATTEMPTS - 1))
    return delay * random.uniform(1 - RETRY_JITTER, 1 + RETRY_JITTER)  # noqa: S311 (no secret)


def about(claim: Claim, closed: Closed | None = None, **more: object) -> dict[str, object]:
    """The fields that every log line of a generation has."""
    fields: dict[str, object] = {
        "token_id": claim.token_id,
        "generation_id": claim.generation_id,
        "attempt": claim.attempt,
    }
    if claim.prediction_id:
        fields["prediction_id"] = claim.prediction_id
    if closed:
        fields["duration_seconds"] = round(closed.duration_seconds, 3)
    return fields | more
