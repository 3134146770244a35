"""A worker's view of the provider: open, or closed with a reason and a time."""

import math
import threading
import time

from imagegen import metrics
from imagegen.logs import log
from imagegen.outcomes import Refused

# Delays while refusals go on: an outage of an hour costs each worker about 65 requests.
FIRST_DELAY_SECONDS = 2.0
MAX_DELAY_SECONDS = 60.0
# What a provider may ask for: a hint of zero or of a day is a mistake.
LEAST_HINT_SECONDS = 1.0
MOST_HINT_SECONDS = 120.0


class Gate:
    """Closed by a refusal; after a while one token goes ahead, the probe, and opens it if it can.

    Only claiming waits: predictions in flight are still watched.
    """

    def __init__(self, slot: str) -> None:
        self._lock = threading.Lock()
        self._reason = ""  # empty: open
        self._delay_seconds = 0.0
        self._next_try = 0.0  # monotonic; infinite while the probe is out
        self._offers_probe = False
        self._probe: int | None = None  # its generation
        self._gauge = metrics.GATE_OPEN.labels(slot)
        self._gauge.set(1)

    def allows(self, free: int) -> int:
        """How many new tokens may be claimed into `free` slots now."""
        with self._lock:
            if not self._reason:
                return free
            self._offers_probe = time.monotonic() >= self._next_try
            return min(free, 1) if self._offers_probe else 0

    def goes_ahead(self, generation_id: int) -> None:
        """A new token was claimed: it is the probe if the gate was closed when it asked."""
        with self._lock:
            if self._offers_probe:
                self._offers_probe, self._probe = False, generation_id
                self._next_try = math.inf

    def came_back(self, generation_id: int) -> None:
        """A generation has left its slot; the probe may not have asked Replicate at all."""
        with self._lock:
            if self._probe == generation_id:
                self._probe, self._next_try = None, time.monotonic()

    def close(self, refused: Refused, generation_id: int) -> float:
        """Replicate refused a generation. Returns after how many seconds its token may try again.

        The delay grows when the probe is refused, not for each of the ten slots that were refused
        at the same moment.
        """
        with self._lock:
            was_open = not self._reason
            if was_open or self._probe == generation_id:
                self._delay_seconds = self._next_delay_seconds(refused.wait_seconds)
                self._next_try = time.monotonic() + self._delay_seconds
                self._probe = None
            self._reason, self._offers_probe = refused.reason, False
            delay = self._delay_seconds
        if was_open:
            self._gauge.set(0)
            log.warning("gate.closed", extra={"reason": refused.reason, "error": refused.message})
        return delay

    def open(self) -> None:
        """Replicate accepted a prediction, or refused one for what is in it."""
        with self._lock:
            reason, self._reason = self._reason, ""
            self._delay_seconds, self._probe, self._offers_probe = 0.0, None, False
        if reason:
            self._gauge.set(1)
            log.info("gate.opened", extra={"reason": reason})

    def _next_delay_seconds(self, hint_seconds: float | None) -> float:
        if hint_seconds is not None:
            return min(max(hint_seconds, LEAST_HINT_SECONDS), MOST_HINT_SECONDS)
        return min(max(self._delay_seconds * 2, FIRST_DELAY_SECONDS), MAX_DELAY_SECONDS)
