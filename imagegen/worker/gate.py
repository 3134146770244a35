"""A worker's view of the provider: open, or closed with a reason and a time."""

import math
import random
import threading
import time
from dataclasses import dataclass

from imagegen.failures import Reason
from imagegen.logs import log
from imagegen.metrics import definitions as metrics
from imagegen.queue import Left
from imagegen.replicate import Refused
from imagegen.worker.create_rate import CreatePace

# Delays while refusals go on: an outage of ten minutes costs each worker about 24 requests.
FIRST_DELAY_SECONDS = 1.0
MAX_DELAY_SECONDS = 30.0
# What a provider may ask for: a hint of zero or of a day is a mistake.
LEAST_HINT_SECONDS = 1.0
MOST_HINT_SECONDS = 120.0
# Workers that were refused together come back one after the other.
JITTER = 0.2
# The token that was refused waits for so many delays of the gate, so that another one goes ahead.
BEHIND_OTHERS = 2.0
# So many predictions in a row that Replicate accepted and could not carry out are no accident.
BAD_ENDS = 3


@dataclass(frozen=True)
class Delay:
    """When the token of a refused generation may try again."""

    seconds: float
    grows: bool = False  # with each refusal in a row: others passed, so it is the token's own


@dataclass(frozen=True)
class Turn:
    """Whether a generation may ask that was claimed before."""

    wait_seconds: float  # 0: it may ask now
    reason: Reason | None = None  # why nothing may, and nobody knows for how long


class Gate:
    """Closed by a refusal; after a while one token goes ahead, the probe, and opens it if it can.

    Throttling opens by itself when its time is over, at a slower pace. Only claiming waits:
    predictions in flight are still watched.
    """

    def __init__(self, slot: str, pace: CreatePace) -> None:
        self._slot = slot
        self._pace = pace
        self._lock = threading.Lock()
        self._reason: Reason | None = None  # None: open
        self._delay_seconds = 0.0
        self._next_try = 0.0  # monotonic; infinite while the probe is out
        self._offers_probe = False
        self._probe: int | None = None  # its generation
        self._bad_ends = 0  # in a row
        self._by_result = False  # closed although Replicate accepts: what it accepts, it cannot do
        self._left = Left()  # by the daily limit
        self._shown: set[Reason] = set()
        self._show()

    def allows(self, free: int) -> int:
        """How many new tokens may be claimed into `free` slots now."""
        with self._lock:
            most = int(min(free, self._left.for_new))
            if self._is_open():
                return min(most, self._pace.ready())
            self._offers_probe = most > 0 and time.monotonic() >= self._next_try
            return 1 if self._offers_probe else 0

    def next_seconds(self) -> float:
        """Until it may allow more; infinite where only an answer or a new day can tell."""
        with self._lock:
            if self._left.for_new <= 0:
                return math.inf
            if self._reason is None:
                return self._pace.next_seconds()
            return max(self._next_try - time.monotonic(), 0.0)

    def goes_ahead(self, generation_id: int) -> None:
        """A new token was claimed: it is the probe if the gate was closed when it asked."""
        with self._lock:
            if self._offers_probe:
                self._send_probe(generation_id)
            else:
                self._pace.spend()

    def goes_too(self, generation_id: int) -> Turn:
        """A generation that was claimed before wants to ask as well: a fallback, or an adopted
        one. Where it may, it is counted, and where nothing else may, it is the probe."""
        with self._lock:
            if not self._is_open():
                if time.monotonic() >= self._next_try:
                    self._send_probe(generation_id)
                    return Turn(0.0)
                left_seconds = self._next_try - time.monotonic()
                wait_seconds = min(max(left_seconds, FIRST_DELAY_SECONDS), MAX_DELAY_SECONDS)
                throttled = self._reason is Reason.THROTTLED
                return Turn(wait_seconds, None if throttled else self._reason)
            if wait_seconds := self._pace.next_seconds():
                return Turn(wait_seconds)
            self._pace.spend()
            return Turn(0.0)

    def came_back(self, generation_id: int) -> None:
        """A generation has left its slot; the probe may not have asked Replicate at all."""
        with self._lock:
            if self._probe == generation_id:
                self._probe, self._next_try = None, time.monotonic()

    def close(self, refused: Refused, generation_id: int) -> Delay:
        """Replicate refused a generation. Returns when its token may try again.

        The delay grows, and the pace slows down, when the probe is refused, not for each of the
        ten slots that were refused at the same moment.
        """
        with self._lock:
            return self._close(refused, generation_id)

    def open(self) -> None:
        """Replicate accepted a prediction, or refused one for what is in it."""
        with self._lock:
            self._pace.succeeded()
            if not self._by_result:
                self._reopen()

    def ended_badly(self, refused: Refused, generation_id: int) -> Delay:
        """Replicate could not carry out what it had accepted, and the token is not to blame. The
        gate closes when that is no accident. Returns when the token may try again."""
        with self._lock:
            self._bad_ends += 1
            accident = refused.reason is Reason.UNAVAILABLE and self._bad_ends < BAD_ENDS
            if self._reason is None and accident:
                return Delay(FIRST_DELAY_SECONDS * BEHIND_OTHERS, grows=True)
            self._by_result = self._by_result or self._reason is None
            return self._close(refused, generation_id)

    def ended_well(self) -> None:
        """Replicate carried a prediction out, whatever came of it."""
        with self._lock:
            self._bad_ends = 0
            if self._by_result:
                self._reopen()

    @property
    def offers_probe(self) -> bool:
        """Whether it has just let one token go ahead, and none has gone yet."""
        with self._lock:
            return self._offers_probe

    def nobody_waits(self) -> None:
        """There is no token that could go ahead: what was refused is history, not a closed gate
        that somebody should look after."""
        with self._lock:
            self._reopen()

    def limit_today(self, left: Left) -> None:
        """The daily limit leaves so many predictions; none closes the gate."""
        with self._lock:
            was_closed, self._left = self._left.today <= 0, left
            self._show()
        if (left.today <= 0) != was_closed:
            extra = {"reason": Reason.DAILY_LIMIT}
            if was_closed:
                log.info("gate.opened", extra=extra)
            else:
                log.warning("gate.closed", extra=extra)

    def _send_probe(self, generation_id: int) -> None:
        self._pace.spend()
        self._offers_probe, self._probe, self._next_try = False, generation_id, math.inf

    def _is_open(self) -> bool:
        if self._reason is Reason.THROTTLED and time.monotonic() >= self._next_try:
            self._reopen()
        return self._reason is None

    def _close(self, refused: Refused, generation_id: int) -> Delay:
        was_open = self._reason is None
        leads = was_open or self._probe == generation_id
        if leads:
            self._reason = refused.reason
            self._delay_seconds = self._next_delay_seconds(refused)
            self._next_try = time.monotonic() + self._delay_seconds
            self._probe = None
            if refused.reason is Reason.THROTTLED:
                self._pace.refused(self._delay_seconds)
        self._offers_probe = False
        self._show()
        if was_open:
            log.warning("gate.closed", extra={"reason": refused.reason, "error": refused.message})
        if refused.reason is Reason.THROTTLED or not leads:
            return Delay(self._delay_seconds)
        return Delay(self._delay_seconds * BEHIND_OTHERS, grows=was_open)

    def _reopen(self) -> None:
        reason, self._reason = self._reason, None
        self._delay_seconds, self._probe, self._offers_probe = 0.0, None, False
        self._by_result = False
        self._show()
        if reason is not None:
            log.info("gate.opened", extra={"reason": reason})

    def _next_delay_seconds(self, refused: Refused) -> float:
        if refused.wait_seconds is not None:
            hint_seconds = min(max(refused.wait_seconds, LEAST_HINT_SECONDS), MOST_HINT_SECONDS)
            return min(hint_seconds * random.uniform(1, 1 + JITTER), MOST_HINT_SECONDS)  # noqa: S311
        return min(max(self._delay_seconds * 2, FIRST_DELAY_SECONDS), MAX_DELAY_SECONDS)

    def _show(self) -> None:
        metrics.CREATE_PACE.set(self._pace.per_second * 60)
        closed = {self._reason} if self._reason else set()
        if self._left.today <= 0:
            closed.add(Reason.DAILY_LIMIT)
        metrics.GATE_OPEN.labels(self._slot).set(0 if closed else 1)
        self._shown |= closed
        for reason in self._shown:
            metrics.GATE_CLOSED.labels(self._slot, reason).set(int(reason in closed))
