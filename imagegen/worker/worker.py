"""A worker process: claims tokens for its slots until it is told to stop, then hands over."""

import logging
import os
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from psycopg.errors import LockNotAvailable

from imagegen.config import LOOPBACK, Settings
from imagegen.database import AWAY, Pool, Tables, open_pool, read_tables, why_away
from imagegen.logs import log
from imagegen.metrics import definitions as metrics
from imagegen.queue import Claim, Queue
from imagegen.replicate import Budget, Provider
from imagegen.worker.create_rate import CreatePace
from imagegen.worker.database_retry import DATABASE_AGAIN_SECONDS, Patience
from imagegen.worker.gate import Gate
from imagegen.worker.generation import OVERDUE_SECONDS, Options, Recipe
from imagegen.worker.image_copies import Copies
from imagegen.worker.settlement import Closer, about
from imagegen.worker.slots import Slots
from imagegen.worker.wakeup import Wake

# Each statement takes a millisecond or two; ten slots do not need ten connections.
SLOTS_CONNECTIONS = 3
# A third of the lease: two renewals may fail before it runs out.
RENEWALS_PER_LEASE = 3
# Tokens that something outside left in a state without an owner are no emergency.
MEND_SECONDS = 30.0
# A worker that polls more seldom looks after this part of the watchdog's time all the same.
BEATS_PER_WATCHDOG = 4
# Beyond the author's prompt and the fallback, each as long as Replicate may take.
SLOT_MARGIN_SECONDS = 60.0
# What a slot may take to notice the hand-over: the rest of one look at a prediction.
HAND_OVER_SECONDS = 1.5


class Worker:
    """The claim loop, in the main thread of its process."""

    def __init__(
        self,
        settings: Settings,
        *,
        slot: str,
        name: str,
        predecessor: str | None = None,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        """`slot` says which of a supervisor's workers it is; `name` is its own, and unique.
        `beat` tells the watchdog that the main loop goes on."""
        metrics.WORKER_PID.labels(slot).set(os.getpid())
        metrics.WORKER_STARTED.labels(slot).set_to_current_time()
        self._settings = settings
        self._slot = slot
        self._name = name
        self._predecessor = predecessor
        self._beat = beat
        self._wake = Wake(settings.database_url, name)
        # The main loop has a connection of its own: it renews and beats also while all slots wait
        # for rows that somebody else has locked.
        self._pool = open_pool(settings.database_url, 1, name)
        self._slots_pool = open_pool(settings.database_url, SLOTS_CONNECTIONS, name)
        self._gate = Gate(slot, CreatePace(settings.create_rate / settings.procs / 60))
        self._handing_over = threading.Event()
        self._stopping = False
        self._grace_seconds = settings.grace_seconds
        self._database_away = False
        self._more_wait = False  # tokens, as far as is known: the gate held them back
        self._renew_at = self._mend_at = 0.0  # monotonic

    @property
    def stopping(self) -> bool:
        return self._stopping

    def stop(self, *, grace_seconds: float | None = None) -> None:
        """Claim nothing more; what is at work may go on for the grace. Safe in a signal handler."""
        self._stopping = True
        if grace_seconds is not None:
            self._grace_seconds = grace_seconds

    def run(self) -> None:
        """Claim and generate until told to stop, then hand over what is left."""
        tables = self._wait_for_tables()
        if tables is None:
            return
        queue = self._queue(self._pool, tables)
        busy = metrics.SLOTS_BUSY.labels(self._slot)

        def run(claim: Claim) -> None:
            recipe.run(claim)  # which tells the slots that it waits

        slots = Slots(self._settings.slots, run, self._wake.ring, busy)
        patience = Patience(self._handing_over, slots.waits)
        recipe = self._recipe(self._queue(self._slots_pool, tables), patience)
        while not self._stopping:
            self._look(queue, slots)
            self._beat_unless_stuck(slots)
            self._wake.wait(self._next_look_seconds(slots))
        self._drain(queue, slots)
        self._hand_over(queue, slots)

    def _wait_for_tables(self) -> Tables | None:
        """The tables, as soon as the database is there; None when told to stop before."""
        while not self._stopping:
            try:
                with self._pool.connection() as connection:
                    tables = read_tables(connection)
                if self._predecessor is not None:
                    self._queue(self._pool, tables).release_of(self._predecessor)
            except AWAY as error:
                self._database_is_away(error)
                self._beat()
                self._wake.wait(self._pause_seconds)
            else:
                log.info("worker.started", extra={"pid": os.getpid(), "lease_name": self._name})
                self._beat()  # it has begun: what stands still from here on hangs
                return tables
        return None

    def _queue(self, pool: Pool, tables: Tables) -> Queue:
        return Queue(
            pool,
            tables,
            self._name,
            lease_seconds=self._settings.lease_seconds,
            give_up_after_seconds=self._settings.give_up_after_seconds,
            daily_limit=self._settings.daily_limit,
        )

    def _recipe(self, queue: Queue, patience: Patience) -> Recipe:
        settings = self._settings
        return Recipe(
            queue=queue,
            provider=Provider(
                settings.replicate_api_token,
                settings.replicate_base_url,
                settings.cancel_after_seconds,
                Budget(settings.poll_budget / settings.procs / 60, self._handing_over.wait),
                settings.marker_input or "",
            ),
            gate=self._gate,
            closer=Closer(
                queue,
                fallback_prompt=settings.fallback_prompt,
                replace_lost=settings.replace_lost,
                copies=Copies(settings.keep_images) if settings.keep_images else None,
                patience=patience,
            ),
            options=Options(
                model_input=settings.model_input,
                marker=settings.marker_input,
                default_prompt=settings.default_prompt,
                settle_seconds=settings.settle_seconds,
                give_up_after_seconds=settings.give_up_after_seconds,
                cancel_after_seconds=settings.cancel_after_seconds,
                http_images=urlsplit(settings.replicate_base_url).hostname in LOOPBACK,
            ),
            patience=patience,
        )

    def _look(self, queue: Queue, slots: Slots) -> None:
        """Renew and claim. With fresh connections where the database has cut those that lie idle,
        or where they lead to a server that has become a standby."""
        try:
            self._renew_and_claim(queue, slots)
        except LockNotAvailable as error:
            self._database_is_away(error)  # somebody has locked a whole table
            return
        except AWAY:
            self._pool.drain()
            self._slots_pool.drain()
            try:
                self._renew_and_claim(queue, slots)
            except AWAY as error:
                self._database_is_away(error)
                return
        self._database_is_back()

    def _renew_and_claim(self, queue: Queue, slots: Slots) -> None:
        """Renew what is held, then claim as much as there are free slots."""
        self._renew(queue, slots)
        self._mend(queue)
        self._more_wait = False
        if free := slots.free:
            self._gate.limit_today(queue.left_today())
            allowed = self._gate.allows(free)
            claims = queue.claim(
                limit=free,
                new_limit=allowed,
                model=self._settings.model,
                busy=slots.tokens,
            )
            for claim in claims:
                self._start(claim, slots)
            new = sum(not each.adopted for each in claims)
            self._more_wait = new == allowed < free
            if self._gate.offers_probe and not queue.anybody_waits():
                self._gate.nobody_waits()

    def _beat_unless_stuck(self, slots: Slots) -> None:
        """No beat while a slot is past any deadline; waiting for the database has none."""
        allowed_seconds = 2 * (self._settings.cancel_after_seconds + OVERDUE_SECONDS)
        if slots.longest_seconds() < allowed_seconds + SLOT_MARGIN_SECONDS:
            self._beat()

    def _start(self, claim: Claim, slots: Slots) -> None:
        level = logging.INFO
        if claim.postponed:
            level, event = logging.DEBUG, "generation.resumed"
        elif claim.adopted:
            metrics.ADOPTIONS.inc()
            event = "prediction.adopted" if claim.prediction_id else "generation.adopted"
        else:
            self._gate.goes_ahead(claim.generation_id)
            metrics.QUEUE_WAIT_SECONDS.observe(max(claim.waited_seconds, 0.0))
            event = "token.claimed"
        log.log(level, event, extra=about(claim))
        slots.start(claim)

    def _renew(self, queue: Queue, slots: Slots) -> None:
        now = time.monotonic()
        if now >= self._renew_at:
            queue.renew(slots.tokens)
            self._renew_at = now + self._settings.lease_seconds / RENEWALS_PER_LEASE

    def _mend(self, queue: Queue) -> None:
        now = time.monotonic()
        if now >= self._mend_at:
            if mended := queue.mend():
                log.warning("tokens.mended", extra={"tokens": mended})
            self._mend_at = now + MEND_SECONDS

    @property
    def _pause_seconds(self) -> float:
        """As long as the poll interval, but never so long that the watchdog would bark."""
        watchdog_seconds = self._settings.watchdog_seconds / BEATS_PER_WATCHDOG
        return min(self._settings.poll_interval_seconds, watchdog_seconds)

    def _next_look_seconds(self, slots: Slots) -> float:
        seconds = self._pause_seconds
        if self._more_wait:
            seconds = min(seconds, self._gate.next_seconds())
        if slots.tokens:
            seconds = min(seconds, self._renew_at - time.monotonic())
        # What is overdue because the database is away is not tried without a pause.
        return max(seconds, DATABASE_AGAIN_SECONDS if self._database_away else 0.0)

    def _drain(self, queue: Queue, slots: Slots) -> None:
        """Let what is at work finish, as far as the grace goes."""
        log.info("worker.stopping", extra={"busy": len(slots.tokens)})
        began = time.monotonic()
        while slots.tokens and (left := began + self._grace_seconds - time.monotonic()) > 0:
            try:
                self._renew(queue, slots)
            except AWAY as error:
                self._database_is_away(error)
            self._beat()
            self._wake.wait(min(left, self._next_look_seconds(slots)))

    def _hand_over(self, queue: Queue, slots: Slots) -> None:
        """Release what is left: its predictions are in the table, so the next worker adopts them.

        A slot may still be in a request when the process ends; its lease is released all the same.
        """
        self._handing_over.set()
        deadline = time.monotonic() + HAND_OVER_SECONDS
        while slots.tokens and (left := deadline - time.monotonic()) > 0:
            self._wake.wait(left)
        try:
            handed_over = queue.release()
        except AWAY as error:
            self._database_is_away(error)
        else:
            log.info("worker.stopped", extra={"handed_over": handed_over})

    def _database_is_away(self, error: Exception) -> None:
        if not self._database_away:
            self._database_away = True
            log.error(
                "database.unavailable",
                extra={"error": why_away(self._settings.database_url, error)},
            )

    def _database_is_back(self) -> None:
        if self._database_away:
            self._database_away = False
            log.info("database.available")
