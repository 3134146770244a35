"""Finds out from Replicate's list what became of a request without an answer (law 2).

Nothing is sent again until a prediction has had time to show up there, and until the list, which
may lag, has shown that it reaches so far. A generation that waits for this holds no slot.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from imagegen.config import Settings
from imagegen.failures import Kind, Reason, longest_settle_seconds
from imagegen.logs import log
from imagegen.metrics import definitions as metrics
from imagegen.queue import Claim, EarlierRequest, Queue
from imagegen.replicate import (
    ENDLESS_LIST,
    Absent,
    Expired,
    Failed,
    Found,
    Listed,
    NoAnswer,
    Prediction,
    Refused,
    ReplicateClient,
    Request,
    Since,
    boottime,
    facts,
    matching,
    outcomes,
)
from imagegen.worker.database_retry import DatabaseRetry
from imagegen.worker.endings import Delay, Ending, Postponed, TurnedAway, Until
from imagegen.worker.list_reader import ListReader
from imagegen.worker.marker_seen import MarkerSeen
from imagegen.worker.settlement import log_fields

# How far clocks may be apart before the settle time is over. A prediction that is not in the list
# then may still come; later, when "not there" counts, it is facts.CLOCK_SLACK_SECONDS.
LOOK_SLACK_SECONDS = 30.0
# Older requests have a reading of their own: a new request does not wait for their many pages.
RECENT_SECONDS = 600.0
# A prediction made this long before or after the request is another's, however the clocks differ.
SURELY = timedelta(minutes=10)
# How far the clocks of the database and of Replicate may drift apart in an hour or two, with the
# error of a clock that shows whole seconds.
CLOCK_DRIFT_SECONDS = 5.0
# Results after which the list is read again. An outage has hundreds of them.
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
OF_ANOTHER_ACCOUNT = Failed(
    Kind.UNRESOLVED,
    "the request was made with another account at Replicate, and is perhaps paid for there",
)


class Reconciler:
    """Finds the predictions of one worker's generations in Replicate's list."""

    def __init__(
        self,
        settings: Settings,
        queue: Queue,
        client: ReplicateClient,
        retry: DatabaseRetry,
        marker_seen: MarkerSeen,
    ) -> None:
        self._settings = settings
        self._queue = queue
        self._client = client
        self._retry = retry
        self._recent, self._older = ListReader(client), ListReader(client)
        self._marker = marker_seen

    @property
    def _settle_seconds(self) -> float:
        """The time after a request in which nothing is decided. Without a marker it is the longest
        lag of the list, which may show another generation's prediction, or lack ours."""
        seconds = self._settings.settle_seconds
        return seconds if self._marker.is_returned else longest_settle_seconds(seconds)

    def check_marker(self, claim: Claim, accepted: Prediction) -> None:
        """Note if the model does not return its marker. It is logged once, and from then on
        predictions are matched by their prompt."""
        if self._marker.is_returned and accepted.seed is None and accepted.prompt is not None:
            self._marker.note_missing()
            fields = log_fields(claim, model=claim.model, marker=self._settings.marker_input)
            log.warning("marker.not_returned", extra=fields)

    def find(self, claim: Claim) -> Prediction | Ending:
        """Return the prediction that a generation's request made, or the ending of the generation
        if there is none, or none yet."""
        assert claim.requested_at and claim.prompt is not None  # noqa: S101 (committed together)
        age_seconds = claim.requested_seconds_ago or 0.0
        has_settled = age_seconds >= self._settle_seconds
        if self.is_of_another_account(claim):
            _report(claim, "undecidable")
            return OF_ANOTHER_ACCOUNT
        asked_at = boottime()
        listed = self._list(datetime.fromisoformat(claim.requested_at), age_seconds, claim.account)
        request = Request(
            claim.prompt,
            self._seeds([claim.seed]),
            self._made(claim.requested_at, age_seconds, listed, boottime() - asked_at),
            has_settled,
            None if self._marker.is_returned else claim.model,
            self._marker.is_returned,
        )
        match self._match(claim, listed, request):
            case Found(prediction, others):
                _report(claim, "found")
                self._cancel(claim, others)
                return prediction
            case _ if listed.missing:
                _report(claim, UNSEEN)
                return _list_again(age_seconds, listed)
            case Expired() if has_settled:
                _report(claim, "undecidable")
                return EXPIRED
            case Absent() if has_settled and matching.must_show(
                listed, age_seconds, self._settings.settle_seconds
            ):
                _report(claim, "absent")
                return ABSENT
            case _:
                _report(claim, NOT_YET)
                return Postponed(Until.LIST_HOLDS_IT, age_seconds=age_seconds)

    def knows(self, claim: Claim, prediction_id: str, age_seconds: float) -> bool | None:
        """Return whether the list holds this prediction; None: it cannot be read, or lags."""
        assert claim.requested_at  # noqa: S101 (committed before the prediction)
        requested_at = datetime.fromisoformat(claim.requested_at)
        listed = self._list(requested_at, age_seconds, claim.account)
        if prediction_id in {item.id for item in listed.predictions}:
            return True
        must_show = matching.must_show(listed, age_seconds, self._settings.settle_seconds)
        return False if must_show and not listed.missing else None

    def is_of_another_account(self, claim: Claim | EarlierRequest) -> bool:
        """Return whether the request was made with another account than the API token's now: that
        account's list does not show it."""
        account = claim.account and self._client.account()
        return account is not None and account != claim.account

    def find_late(self, claim: Claim) -> Prediction | Ending | None:
        """Return a prediction of an earlier request of this token that the list shows late, or the
        ending if no request may be sent now. None: there is none, and a request may be sent."""
        if not claim.unresolved:
            return None
        since = min(earlier.requested_at for earlier in claim.unresolved)
        age_seconds = max(earlier.requested_seconds_ago for earlier in claim.unresolved)
        account = next((earlier.account for earlier in claim.unresolved if earlier.account), None)
        asked_at = boottime()
        listed = self._list(datetime.fromisoformat(since), age_seconds, account)
        has_expired = False
        lagging: list[float] = []  # how old the requests are that the list may not show yet
        for earlier in claim.unresolved:
            if self.is_of_another_account(earlier):
                if not earlier.written_off:
                    return OF_ANOTHER_ACCOUNT
                continue
            seconds_ago = earlier.requested_seconds_ago
            request = Request(
                earlier.prompt,
                self._seeds([earlier.seed]),
                self._made(earlier.requested_at, seconds_ago, listed, boottime() - asked_at),
                model=None if self._marker.is_returned else earlier.model,
                returns_marker=self._marker.is_returned,
            )
            match self._match(claim, listed, request):
                case Found(prediction, others):
                    _report(claim, "found")
                    self._cancel(claim, others)
                    return prediction
                case Expired():
                    has_expired = has_expired or not earlier.written_off
                case Absent():
                    if not matching.must_show(listed, seconds_ago, self._settings.settle_seconds):
                        lagging.append(seconds_ago)
        if listed.missing:
            _report(claim, UNSEEN)
            return _list_again(claim.opened_seconds_ago, listed)
        if lagging:
            _report(claim, NOT_YET)
            return Postponed(Until.LIST_HOLDS_IT, age_seconds=min(lagging))
        return EXPIRED if has_expired else None

    def find_forgotten(self, claim: Claim, prompt: str) -> Prediction | Ending | None:
        """Return a prediction of a request that the database forgot when it went back to an earlier
        state, or the ending if no request may be sent now. None: there is none, and one may be."""
        doubt = claim.doubt
        if doubt is None:
            return None
        since, noticed_at = map(datetime.fromisoformat, (doubt.since, doubt.noticed_at))
        listed = self._list(since, doubt.since_seconds_ago)
        made = (since - SURELY, noticed_at + SURELY)
        # All tokens wait here, and none is sent that would show how far the list reaches.
        has_settled = doubt.noticed_seconds_ago >= self._settle_seconds
        model, seeds = self._settings.model, self._seeds(doubt.seeds)
        request = Request(prompt, seeds, made, has_settled, model, self._marker.is_returned)
        result: Prediction | Ending | None = None
        match self._match(claim, listed, request):
            case Found(prediction, others):
                self._cancel(claim, others)
                outcome, result = "found", prediction
            case _ if listed.missing and listed.missing != ENDLESS_LIST:
                age_seconds = min(claim.opened_seconds_ago, doubt.noticed_seconds_ago)
                outcome, result = UNSEEN, _list_again(age_seconds, listed)
            case _ if not has_settled:
                seconds = self._settle_seconds - doubt.noticed_seconds_ago
                outcome, result = NOT_YET, Postponed(Until.FORGOTTEN_IS_LISTED, seconds)
            case Absent() if not listed.missing:
                outcome = "absent"
            case _:
                outcome, result = "undecidable", EXPIRED
        metrics.RECONCILIATIONS.labels(outcome).inc()
        # A warning if a request was forgotten. After an ordinary restart none was.
        level = logging.INFO if outcome in {*UNDECIDED, "absent"} else logging.WARNING
        log.log(level, "token.doubted", extra=log_fields(claim, result=outcome))
        return result

    def _seeds(self, seeds: Sequence[int]) -> Sequence[int]:
        """Return the seeds by which a request's prediction is matched; none without a marker."""
        return () if self._settings.marker_input is None else seeds

    def _made(
        self, requested_at: str, age_seconds: float, listed: Listed, listing_seconds: float
    ) -> matching.Period:
        """Return the period in which the prediction of a request was made. The request had
        `age_seconds` before the list was read, which took `listing_seconds`.

        With a marker a wide period will do. Several requests may have the same prompt, so without
        one it is as exact as it can be, by Replicate's own clock.
        """
        if self._marker.is_returned or listed.sent_at is None:
            return _around(requested_at)
        sent_at = listed.sent_at - timedelta(seconds=age_seconds)
        earliest = sent_at - timedelta(seconds=listing_seconds + CLOCK_DRIFT_SECONDS)
        arrives_within_seconds = self._settings.settle_seconds + CLOCK_DRIFT_SECONDS
        return earliest, sent_at + timedelta(seconds=arrives_within_seconds)

    def _match(self, claim: Claim, listed: Listed, request: Request) -> Found | Absent | Expired:
        """Return the prediction of a request among those that belong to no other generation."""
        known: set[str] = set()
        if ids := matching.candidates(listed.predictions, request):
            known = self._retry.until_available(lambda: self._queue.known_predictions(claim, ids))
        return matching.match_request(listed.predictions, request, known)

    def _list(self, since: datetime, seconds_ago: float, account: str | None = None) -> Listed:
        """Return the list since then. It is `missing` if `account` is given and ours is unknown."""
        has_settled = seconds_ago >= self._settings.settle_seconds
        slack_seconds = facts.CLOCK_SLACK_SECONDS if has_settled else LOOK_SLACK_SECONDS
        reader = self._recent if seconds_ago < RECENT_SECONDS else self._older
        listed = reader.read(Since(since, seconds_ago, boottime(), slack_seconds))
        if account and self._client.account() is None:
            return replace(listed, missing=NoAnswer("nobody knows whose list it is"))
        return listed

    def _cancel(self, claim: Claim, others: Sequence[Prediction]) -> None:
        """Record and cancel other predictions of the same request, which something in between, such
        as a proxy, has sent again."""
        for other in others:
            self._retry.fenced(partial(self._record_duplicate, claim, other))
            metrics.DUPLICATES.inc()
            log.error("prediction.duplicate", extra=log_fields(claim, duplicate=other.id))
            self._client.cancel(other.id)

    def _record_duplicate(self, claim: Claim, other: Prediction) -> str | None:
        account = self._client.account()
        return self._queue.record_duplicate(
            claim, other.id, status=other.status, account=account, made_at=other.created_at
        )


def _around(requested_at: str) -> matching.Period:
    at = datetime.fromisoformat(requested_at)
    return at - SURELY, at + SURELY


def _list_again(age_seconds: float, listed: Listed) -> Postponed:
    reason = Reason.UNAUTHORIZED if outcomes.refuses_api_token(listed.missing) else None
    return Postponed(Until.LIST_IS_READ, 0.0, age_seconds, str(listed.missing), reason)


def _report(claim: Claim, result: str) -> None:
    metrics.RECONCILIATIONS.labels(result).inc()
    level = logging.DEBUG if result in UNDECIDED else logging.INFO
    log.log(level, "prediction.reconciled", extra=log_fields(claim, result=result))
