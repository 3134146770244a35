"""A worker's circuit breaker: while it is closed, nothing new is sent to Replicate."""

import math
import random
import threading
import time
from dataclasses import dataclass

from imagegen.failures import Kind, Reason, incident_seconds
from imagegen.logs import log
from imagegen.metrics import definitions as metrics
from imagegen.queue import Claim, DailyAllowance
from imagegen.replicate import Failed, Refused
from imagegen.worker.create_rate import CreateRate
from imagegen.worker.endings import Delay
from imagegen.worker.unreadable_outputs import UnreadableOutputs

# Delays while refusals go on: an outage of ten minutes costs each worker about 24 requests.
FIRST_DELAY_SECONDS = 1.0
MAX_DELAY_SECONDS = 30.0
# The bounds of a hint when to try again: one of zero or of a day is a mistake.
LEAST_HINT_SECONDS = 1.0
MOST_HINT_SECONDS = 120.0
# Workers that were refused at the same moment try again at different moments.
JITTER = 0.2
# Workers that wait for the rate do not claim at the same moment: each waits longer by a random part
# of its wait, or of this time if that is shorter.
APART_SECONDS = 0.25
# The wait after another worker was faster, or if the numbers that the workers share are locked.
SOON_SECONDS = 0.005
# A token that was refused waits longer than the gate by at most this, so another is the probe.
BEHIND_OTHERS_SECONDS = 5.0
# A firewall may take one prompt for an attack, but hardly two in a row.
INTERCEPTED_TOKENS = 2
# If predictions of this many tokens fail with no image in between, the cause is common to all, and
# not theirs.
FAILING_TOKENS = 3


@dataclass(frozen=True)
class Permit:
    """Whether a generation that was claimed before may send its request."""

    wait_seconds: float  # 0: it may now
    reason: Reason | None = None  # why the gate is closed, if its end is not known


class Gate:
    """A circuit breaker with a probe. Here *closed* means that nothing passes, as in the metrics.

    A refusal closes it. After a delay one token is admitted, the probe, and opens it if Replicate
    accepts its request. A throttle opens by itself when its time is over, at a slower rate. Only
    new requests wait: predictions in flight are still polled.

    If predictions are accepted and then fail, only an image opens it. After outputs that cannot be
    read it is on trial: it admits one token at a time until there is an image.
    """

    def __init__(self, role: str, rate: CreateRate) -> None:
        """`role` says which of a supervisor's workers it belongs to."""
        self._role = role
        self._rate = rate
        self._lock = threading.Lock()
        self._reason: Reason | None = None  # None: open
        self._delay_seconds = 0.0
        self._next_try = 0.0  # monotonic; infinite while the probe is out
        self._offers_probe = False
        self._probe: int | None = None  # its generation
        self._late: set[int] = set()  # generations that were claimed, and are not counted
        self._intercepted: set[int] = set()  # tokens, since the last request that was accepted
        self._failing: set[int] = set()  # tokens whose predictions failed, since the last image
        self._incident_waits = 0  # in a row
        self._only_image_opens = False  # Replicate accepts predictions, and they fail
        self._has_recovered = False
        self._unreadable = UnreadableOutputs()
        self._allowance, self._is_paused = DailyAllowance(), False
        self._shown: set[Reason] = set()
        self._show()

    def allows(self, free: int) -> int:
        """Return how many new tokens may be claimed into `free` slots now."""
        with self._lock:
            most = 0 if self._is_paused else int(min(free, self._allowance.for_new_tokens))
            if self._is_open():
                return min(most, self._rate.ready())
            self._offers_probe = most > 0 and time.monotonic() >= self._next_try
            return 1 if self._offers_probe else 0

    def next_seconds(self) -> float:
        """Return the seconds until it may allow more; infinity if that is not known."""
        with self._lock:
            if self._is_paused or self._allowance.for_new_tokens <= 0:
                return math.inf
            if self._reason is None and not self._unreadable.are_several:
                wait_seconds = self._rate.next_seconds()
                return wait_seconds + min(wait_seconds, APART_SECONDS) * random.uniform(0, JITTER)  # noqa: S311
            return max(self._next_try - time.monotonic(), 0.0)

    def admit_new(self, generation_id: int) -> None:
        """Count a new token that was claimed, unless another worker was faster. If the gate was
        closed, the token is the probe."""
        with self._lock:
            if self._offers_probe:
                self._send_probe(generation_id)
            elif not self._rate.take():
                self._late.add(generation_id)

    def was_too_late(self, generation_id: int) -> bool:
        """Return, once, whether a new token was not counted, so that it has to wait."""
        with self._lock:
            was_too_late = generation_id in self._late
            self._late.discard(generation_id)
            return was_too_late

    def admit_waiting(self, generation_id: int) -> Permit:
        """Return whether a generation that was claimed before may send its request: a fallback, or
        an adopted one. If it may, it is counted. If nothing else may, it is the probe."""
        with self._lock:
            if self._is_paused:
                return Permit(FIRST_DELAY_SECONDS, Reason.PAUSED)
            if not self._is_open():
                if time.monotonic() >= self._next_try:
                    self._send_probe(generation_id)
                    return Permit(0.0)
                wait_seconds = self._next_try - time.monotonic()
                wait_seconds = min(max(wait_seconds, FIRST_DELAY_SECONDS), MAX_DELAY_SECONDS)
                throttled = self._reason is Reason.THROTTLED
                return Permit(wait_seconds, None if throttled else self._reason)
            if self._rate.take():
                return Permit(0.0)
            return Permit(max(self._rate.next_seconds(), SOON_SECONDS))

    def release_probe(self, generation_id: int) -> None:
        """Let another token be the probe if this generation was the probe: it has left its slot,
        perhaps without a request."""
        with self._lock:
            if self._probe == generation_id:
                self._probe, self._next_try = None, time.monotonic()

    def record_refusal(self, refused: Refused, generation_id: int) -> Delay:
        """Close, because Replicate refused a generation. Returns when its token may try again.

        The delay grows, and the rate slows down, when the probe is refused, not for each slot that
        was refused at the same moment, in this worker or another.
        """
        with self._lock:
            return self._close(refused, generation_id)

    def record_intercepted(self, refused: Refused, claim: Claim) -> Delay:
        """Note that something in between refused a request: perhaps for its prompt, so it closes
        when another token meets it too. Returns when the token may try again."""
        with self._lock:
            self._intercepted.add(claim.token_id)
            if len(self._intercepted) < INTERCEPTED_TOKENS:
                return Delay(FIRST_DELAY_SECONDS, escalates=True)
            return self._close(refused, claim.generation_id)

    def record_accepted(self) -> None:
        """Open: Replicate accepted a prediction, or refused one for its content."""
        with self._lock:
            self._rate.succeeded()
            self._intercepted = set()
            if not self._only_image_opens:
                self._reopen()

    def record_failure(self, failed: Failed, claim: Claim) -> Delay:
        """Note that a prediction failed, perhaps for its token, perhaps for any; close after those
        of several tokens in a row, and for a setting, which all of them have, at once. Returns when
        the token may try again at the earliest."""
        with self._lock:
            self._failing.add(claim.token_id)
            if failed.kind is Kind.MISCONFIGURED:
                refused = Refused(Reason.MISCONFIGURED, failed.message)
            elif len(self._failing) < FAILING_TOKENS:
                return Delay(0.0)
            else:
                refused = Refused(Reason.FAILING, failed.message)
            return self._close_until_image(refused, claim)

    def record_image(self) -> None:
        """Note that a prediction brought an image."""
        with self._lock:
            self._failing, self._incident_waits = set(), 0
            self._unreadable.note_image()
            if self._only_image_opens:
                self._has_recovered = True
                self._reopen()

    def record_unreadable(self, message: str, claim: Claim) -> bool:
        """Note that a prediction was paid for, and brought nothing that can be read; close after
        several in a row. Returns whether it is one of several: not if it still cannot be read when
        there is an image of another token."""
        with self._lock:
            is_own = self._unreadable.is_own(claim)
            if is_own is not False:
                return is_own is None
            if self._unreadable.add(claim.token_id):
                self._close_until_image(Refused(Reason.UNREADABLE, message), claim)
            return self._unreadable.are_several

    def take_recovery(self) -> bool:
        """Return, once, that predictions bring images again after they had failed for all."""
        with self._lock:
            has_recovered, self._has_recovered = self._has_recovered, False
            return has_recovered

    @property
    def offers_probe(self) -> bool:
        """Whether it has offered to admit a probe, and none was claimed yet."""
        with self._lock:
            return self._offers_probe

    def reset_idle(self) -> None:
        """Open when no token is waiting: with nothing to probe, an old refusal must not keep
        /readyz red. On trial, the next token is a probe all the same."""
        with self._lock:
            self._reopen()

    def set_allowance(self, allowance: DailyAllowance) -> None:
        """Note how many predictions the day's limit and budget admit; none closes the gate."""
        with self._lock:
            before, self._allowance = self._allowance.closed_by, allowance
            metrics.CREATE_PACE.set(self._rate.pace)
            if (now := allowance.closed_by) != before:
                self._show()
        if before and now != before:
            log.info("gate.opened", extra={"reason": before})
        if now and now != before:
            log.warning("gate.closed", extra={"reason": now})

    def set_paused(self, *, is_paused: bool) -> None:
        """Note whether an operator has paused, which closes the gate."""
        with self._lock:
            self._is_paused = is_paused
            self._show()

    def _send_probe(self, generation_id: int) -> None:
        self._rate.spend()
        self._offers_probe, self._probe, self._next_try = False, generation_id, math.inf

    def _close_until_image(self, refused: Refused, claim: Claim) -> Delay:
        self._only_image_opens = self._only_image_opens or self._leads(claim.generation_id)
        return self._close(refused, claim.generation_id)

    def _leads(self, generation_id: int) -> bool:
        """Whether it decides: the gate was open, or this is the probe."""
        return self._reason is None or self._probe == generation_id

    def _is_open(self) -> bool:
        if self._reason is Reason.THROTTLED and time.monotonic() >= self._next_try:
            self._reopen()
        return self._reason is None and not self._unreadable.are_several

    def _close(self, refused: Refused, generation_id: int) -> Delay:
        was_open, leads = self._reason is None, self._leads(generation_id)
        if leads:
            self._reason = refused.reason
            self._delay_seconds = self._next_delay_seconds(refused)
            self._next_try = time.monotonic() + self._delay_seconds
            self._probe = None
            if refused.reason is Reason.THROTTLED and not self._rate.is_held:
                self._rate.refused(self._delay_seconds, refused.limit)
        self._offers_probe = False
        self._show()
        if was_open:
            log.warning("gate.closed", extra={"reason": refused.reason, "error": refused.message})
        if refused.reason is Reason.THROTTLED or not leads:
            return Delay(self._delay_seconds)
        seconds = self._delay_seconds
        return Delay(seconds + min(seconds, BEHIND_OTHERS_SECONDS), escalates=was_open)

    def _reopen(self) -> None:
        reason, self._reason = self._reason, None
        self._delay_seconds, self._only_image_opens = 0.0, False
        if not self._unreadable.are_several:
            self._probe, self._offers_probe = None, False
        self._show()
        if reason is not None:
            log.info("gate.opened", extra={"reason": reason})

    def _next_delay_seconds(self, refused: Refused) -> float:
        if refused.reason is Reason.UNREADABLE:
            return self._unreadable.next_delay_seconds()
        if refused.reason is Reason.FAILING:
            self._incident_waits += 1
            return incident_seconds(self._incident_waits - 1)
        if refused.wait_seconds is not None:
            hint_seconds = min(max(refused.wait_seconds, LEAST_HINT_SECONDS), MOST_HINT_SECONDS)
            return min(hint_seconds * random.uniform(1, 1 + JITTER), MOST_HINT_SECONDS)  # noqa: S311
        return min(max(self._delay_seconds * 2, FIRST_DELAY_SECONDS), MAX_DELAY_SECONDS)

    def _show(self) -> None:
        metrics.CREATE_PACE.set(self._rate.pace)
        paused = Reason.PAUSED if self._is_paused else None
        reasons = (self._reason, self._allowance.closed_by, paused)
        closed = {reason for reason in reasons if reason}
        metrics.GATE_OPEN.labels(self._role).set(0 if closed else 1)
        self._shown |= closed
        for reason in self._shown:
            metrics.GATE_CLOSED.labels(self._role, reason).set(int(reason in closed))
