"""A worker's slots: threads that each bring one token to its end."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from prometheus_client import Gauge

from imagegen.logs import log
from imagegen.queue import Claim


class Slots:
    """Runs at most `count` claims at once. `freed` is called in a slot's thread when it is free."""

    def __init__(
        self,
        count: int,
        run: Callable[[Claim], None],
        freed: Callable[[], None],
        busy: Gauge,
    ) -> None:
        """`busy` is set to the number of slots at work."""
        self._count = count
        self._run = run
        self._freed = freed
        self._busy_gauge = busy
        self._busy_gauge.set(0)
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="slot")
        self._lock = threading.Lock()
        self._busy: dict[Future[None], Claim] = {}
        self._active_at: dict[int, float] = {}  # monotonic, by thread

    @property
    def free(self) -> int:
        return self._count - len(self._busy)

    @property
    def tokens(self) -> list[int]:
        """The tokens at work: a token, unlike its generation, stays the same with the fallback."""
        with self._lock:
            return [claim.token_id for claim in self._busy.values()]

    def longest_seconds(self) -> float:
        """Return the longest time, in seconds, since a busy slot started or last called `waits`."""
        with self._lock:
            return time.monotonic() - min(self._active_at.values(), default=time.monotonic())

    def waits(self) -> None:
        """Restart the clock of this thread's slot: it waits for the database and does not hang."""
        with self._lock:
            self._active_at[threading.get_ident()] = time.monotonic()

    def start(self, claim: Claim) -> None:
        future = self._threads.submit(self._work, claim)
        with self._lock:
            self._busy[future] = claim
            self._busy_gauge.set(len(self._busy))
        future.add_done_callback(self._done)

    def _work(self, claim: Claim) -> None:
        self.waits()  # its clock starts
        try:
            self._run(claim)
        finally:
            with self._lock:
                del self._active_at[threading.get_ident()]

    def _done(self, future: Future[None]) -> None:
        with self._lock:
            claim = self._busy.pop(future)
            self._busy_gauge.set(len(self._busy))
        if error := future.exception():
            # The outermost handler of a slot. The generation's lease runs out, and it is adopted.
            fields = {"generation_id": claim.generation_id, "token_id": claim.token_id}
            log.error("slot.crashed", exc_info=error, extra=fields)
        self._freed()
