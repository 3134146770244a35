"""A worker process: claims tokens for its slots until it is stopped, then hands over."""

import logging
import os
import threading
import time
from collections.abc import Callable
from functools import partial

import psycopg
from psycopg.errors import LockNotAvailable

from imagegen.config import Settings
from imagegen.database import (
    AWAY,
    SLOTS_CONNECTIONS,
    AnswerLimit,
    NoAnswerError,
    Pool,
    TablesAwayError,
    open_pool,
)
from imagegen.logs import log
from imagegen.metrics import definitions as metrics
from imagegen.queue import Claim, Queue
from imagegen.replicate import Marker, ReplicateClient
from imagegen.worker.account_rates import AccountRates
from imagegen.worker.backlog import Backlog
from imagegen.worker.costs import request_dollars, second_dollars
from imagegen.worker.database_retry import (
    DATABASE_AGAIN_SECONDS,
    STOPPING_ANSWER_SECONDS,
    DatabaseReport,
    DatabaseRetry,
    answer_seconds,
)
from imagegen.worker.gate import Gate
from imagegen.worker.generation import GenerationRunner
from imagegen.worker.image_copies import ImageCopies
from imagegen.worker.leases import Leases
from imagegen.worker.maintenance import Maintenance
from imagegen.worker.orders import Orders
from imagegen.worker.polling import OVERDUE_SECONDS
from imagegen.worker.set_aside import SetAside
from imagegen.worker.settlement import COPYING_SECONDS, log_fields
from imagegen.worker.slots import Slots
from imagegen.worker.wakeup import Wakeup

# The least number of heartbeats in the watchdog's time, also with a longer poll interval.
BEATS_PER_WATCHDOG = 4
# The longest that a slot may take beyond two predictions, the author's prompt and the fallback.
SLOT_MARGIN_SECONDS = 60.0
# The longest that a slot may take to notice the shutdown: the rest of one poll of a prediction.
HAND_OVER_SECONDS = 1.5


class Worker:
    """The claim loop, in the main thread of its process."""

    def __init__(
        self,
        settings: Settings,
        *,
        role: str,
        lease_name: str,
        predecessor: str | None = None,
        beat: Callable[[], None] = lambda: None,
        ready: Callable[[], None] = lambda: None,
        rates: AccountRates | None = None,
    ) -> None:
        """`role` is such as `worker-0`, `lease_name` its name in leases. `beat` sends a heartbeat,
        `ready` says that the worker has claimed. All workers of a supervisor share `rates`."""
        metrics.WORKER_PID.labels(role).set(os.getpid())
        metrics.WORKER_STARTED.labels(role).set_to_current_time()
        self._settings = settings
        self._role = role
        self._lease_name = lease_name
        self._predecessor = predecessor
        self._beat, self._ready = beat, ready
        self._wakeup = Wakeup(settings.database_url, lease_name)
        # The main loop has a connection of its own, to renew leases also while all slots wait for
        # locked rows. It sends heartbeats while it waits for an answer of the database.
        url, seconds = settings.database_url, answer_seconds(settings.lease_seconds)
        self._limit = AnswerLimit(seconds, on_wait=beat)
        self._pool = open_pool(url, 1, lease_name, self._limit)
        self._slots_pool = open_pool(url, SLOTS_CONNECTIONS, lease_name, AnswerLimit(seconds))
        self._queue = self._queue_of(self._pool)
        self._leases = Leases(self._queue, settings.lease_seconds)
        self._database = DatabaseReport(role, url)
        self._rates = rates or AccountRates.of(settings)
        self._gate = Gate(role, self._rates.creates)
        self._shutdown = threading.Event()
        self._stopping = False
        self._grace_seconds = settings.grace_seconds
        self._backlog = Backlog(self._gate, self._pause_seconds)
        self._orders = Orders(self._queue, self._gate, self._rates, self._pause_seconds)

    @property
    def stopping(self) -> bool:
        return self._stopping

    def stop(self, *, grace_seconds: float | None = None) -> None:
        """Claim nothing more, and let the slots go on for at most `grace_seconds` (None: as set).
        Safe in a signal handler."""
        self._stopping = True
        self._limit.seconds = min(self._limit.seconds, STOPPING_ANSWER_SECONDS)
        if grace_seconds is not None:
            self._grace_seconds = grace_seconds

    def run(self) -> None:
        """Claim and generate until the worker is stopped, then hand over what is still at work."""
        if not self._wait_for_tables():
            return

        def run(claim: Claim) -> None:
            runner.run(claim)  # it calls `slots.waits` when it waits for the database

        busy = metrics.SLOTS_BUSY.labels(self._role)
        slots = Slots(self._settings.slots, run, self._wakeup.ring, busy)
        retry = DatabaseRetry(self._shutdown, slots.waits)
        of_slots = self._queue_of(self._slots_pool, known=self._queue)
        runner = self._runner(of_slots, retry)
        self._limit.on_wait = lambda: self._beat_unless_stuck(slots)
        set_aside = SetAside(self._queue, self._settings.model)
        maintenance = Maintenance(self._pool, (self._queue, of_slots), set_aside)
        while not self._stopping:
            self._claim_and_renew(slots, set_aside, maintenance)
            self._beat_unless_stuck(slots)
            if self._wakeup.wait(self._sleep_seconds(slots)):
                self._backlog.note_minted()
        self._drain(slots)
        self._hand_over(slots)

    def _wait_for_tables(self) -> bool:
        """Return True when the tables can be worked on; False if the worker is stopped before."""
        while not self._stopping:
            try:
                self._leases.release_those_of_dead(self._predecessor)
            except psycopg.Error as error:
                self._database.report_away(error)
                self._beat()
                self._wakeup.wait(self._pause_seconds)
            else:
                self._database.report_back()
                extra = {"pid": os.getpid(), "lease_name": self._lease_name}
                log.info("worker.started", extra=extra)
                self._beat()  # from the first heartbeat on the watchdog counts
                return True
        return False

    def _queue_of(self, pool: Pool, known: Queue | None = None) -> Queue:
        return Queue(
            pool,
            known.session.tables if known else None,
            self._lease_name,
            lease_seconds=self._settings.lease_seconds,
            give_up_after_seconds=self._settings.give_up_after_seconds,
            daily_limit=self._settings.daily_limit,
            daily_budget=self._settings.daily_budget,
            request_dollars=request_dollars(self._settings),
            second_dollars=second_dollars(self._settings),
            standing=known.standing if known else None,
        )

    def _runner(self, queue: Queue, retry: DatabaseRetry) -> GenerationRunner:
        settings = self._settings
        client = ReplicateClient(
            settings.replicate_api_token,
            settings.replicate_base_url,
            settings.cancel_after_seconds,
            self._rates.budget(self._shutdown.wait),
            Marker.of_setting(settings.marker_input),
            note_remaining=self._rates.creates.note_remaining,
        )
        return GenerationRunner(
            settings,
            queue=queue,
            client=client,
            gate=self._gate,
            retry=retry,
            copies=ImageCopies(settings.keep_images) if settings.keep_images else None,
            marker_seen=self._rates.marker_seen,
        )

    def _claim_and_renew(self, slots: Slots, set_aside: SetAside, maintenance: Maintenance) -> None:
        """Renew and claim. If that fails, do so once more with fresh connections: the database may
        have cut idle ones, or they may lead to a server that has become a standby.

        No error of the database ends the worker: the next round tries again.
        """
        step = partial(self._renew_and_claim, slots, set_aside, maintenance)
        try:
            try:
                step()
            except (LockNotAvailable, NoAnswerError):
                raise  # a whole table is locked, or nothing answers
            except AWAY as error:
                if not isinstance(error, TablesAwayError):  # this connection can read them again
                    self._pool.drain()
                    self._slots_pool.drain()
                self._beat_unless_stuck(slots)
                step()
        except psycopg.Error as error:
            self._database.report_away(error)
        else:
            self._ready()
            self._database.report_back()

    def _renew_and_claim(self, slots: Slots, set_aside: SetAside, maintenance: Maintenance) -> None:
        """Renew leases, then claim as much as there are free slots."""
        if self._database.is_away:
            self._queue.confirm_commits()
        self._leases.renew_if_due(slots.tokens)
        maintenance.run_if_due()
        if self._gate.take_recovery():
            self._queue.end_incident()
        if (free := slots.free) and self._backlog.is_claim_due(free):
            self._claim(free, slots, set_aside)
            self._orders.follow()
        else:
            self._orders.follow_if_due()

    def _claim(self, free: int, slots: Slots, set_aside: SetAside) -> None:
        self._gate.set_allowance(self._queue.daily_allowance())
        allowed = self._gate.allows(free)
        claims = set_aside.claim(limit=free, new_limit=allowed, busy=slots.tokens)
        for claim in claims:
            self._start(claim, slots)
        new = sum(not each.adopted for each in claims)
        self._backlog.note_claimed(may_have_left=new == allowed or len(claims) == free)
        if self._gate.offers_probe and not self._queue.is_any_token_waiting():
            self._gate.reset_idle()

    def _beat_unless_stuck(self, slots: Slots) -> None:
        """Send a heartbeat unless a slot is past every deadline. A database wait has none."""
        allowed_seconds = 2 * (self._settings.cancel_after_seconds + OVERDUE_SECONDS)
        if self._settings.keep_images is not None:
            allowed_seconds += COPYING_SECONDS
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
            self._gate.admit_new(claim.generation_id)
            metrics.QUEUE_WAIT_SECONDS.observe(max(claim.waited_seconds, 0.0))
            event = "token.claimed"
        log.log(level, event, extra=log_fields(claim))
        slots.start(claim)

    @property
    def _pause_seconds(self) -> float:
        """Return the poll interval, or less if the watchdog needs heartbeats more often."""
        watchdog_seconds = self._settings.watchdog_seconds / BEATS_PER_WATCHDOG
        return min(self._settings.poll_interval_seconds, watchdog_seconds)

    def _sleep_seconds(self, slots: Slots) -> float:
        seconds = self._pause_seconds
        if slots.free and not self._stopping:  # it claims nothing while it drains
            seconds = min(seconds, self._backlog.next_seconds())
        if slots.tokens:
            seconds = min(seconds, self._leases.next_seconds())
        # While the database is away, overdue renewals and claims are tried again with a pause.
        return max(seconds, DATABASE_AGAIN_SECONDS if self._database.is_away else 0.0)

    def _drain(self, slots: Slots) -> None:
        """Renew leases and wait for the slots to finish, at most for the grace time."""
        log.info("worker.stopping", extra={"busy": len(slots.tokens)})
        began = time.monotonic()
        while slots.tokens and (remaining := began + self._grace_seconds - time.monotonic()) > 0:
            try:
                self._leases.renew_if_due(slots.tokens)
            except AWAY as error:
                self._database.report_away(error)
            self._beat()
            self._wakeup.wait(min(remaining, self._sleep_seconds(slots)))

    def _hand_over(self, slots: Slots) -> None:
        """Release the leases of generations still at work, so that the next worker adopts them.

        That of a slot that is still in a request is released too.
        """
        self._shutdown.set()
        deadline = time.monotonic() + HAND_OVER_SECONDS
        while slots.tokens and (remaining := deadline - time.monotonic()) > 0:
            self._wakeup.wait(remaining)
        try:
            handed_over = self._queue.release()
        except AWAY as error:
            self._database.report_away(error)
        else:
            log.info("worker.stopped", extra={"handed_over": handed_over})
