"""Workers that move one step at a time, when the test says so: as far as a point, or to the end."""

import threading
from dataclasses import dataclass

from imagegen.database.connection import Pool
from imagegen.database.tables import read_tables
from imagegen.queue import Claim, Queue
from imagegen.worker.create_rate import CreateRate
from imagegen.worker.database_retry import DatabaseRetry
from imagegen.worker.gate import Gate
from imagegen.worker.generation import GenerationRunner
from tests.support.fake_replicate import FakeReplicate
from tests.support.settings import settings

MODEL = "owner/name"
FALLBACK = "soft colours"
LEASE_SECONDS = 17.0
SETTLE_SECONDS = 103.0
CANCEL_AFTER_SECONDS = 300.0
GIVE_UP_AFTER_SECONDS = 86_400.0
# The runner looks at a prediction that runs until its own clock says that it is overdue.
MOST_LOOKS = 4
PATIENCE_SECONDS = 60.0


class Killed(BaseException):
    """kill -9, as far as a thread can have it."""


class Work(threading.Thread):
    """A runner on its way with a claim, which moves only while the test waits for it: it can stand
    still at a point for as long as other steps take, then go on, or die there."""

    def __init__(self, runner: GenerationRunner, claim: Claim) -> None:
        super().__init__(daemon=True)
        self.claim = claim
        self.stands_at = ""
        self.stood_seconds = 0.0
        self._runner = runner
        self._until = ""
        self._looks = 0
        self._killed = False
        self._error: BaseException | None = None
        self._may_move, self._stands = threading.Semaphore(0), threading.Semaphore(0)

    def go_on(self, until: str = "") -> bool:
        """Move to that point, or to the end. Returns whether it is over; raises what it raised."""
        self._until, self._looks, self.stands_at, self.stood_seconds = until, 0, "", 0.0
        if self.ident is None:
            self.start()
        self._may_move.release()
        assert self._stands.acquire(timeout=PATIENCE_SECONDS), f"{self.claim} goes on for ever"
        if self._error:
            raise self._error
        return not self.stands_at

    def kill(self) -> None:
        self._killed = True
        if self._error is None:
            self.go_on()

    def reach(self, point: str) -> None:
        self._looks += point == "looked"
        if point == self._until or self._looks > MOST_LOOKS:
            self.stands_at = point
            self._stands.release()
            self._may_move.acquire()
        if self._killed:
            raise Killed

    def run(self) -> None:
        self._may_move.acquire()
        try:
            self._runner.run(self.claim)
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001 (raised where the test waits)
            self._error = error
        self._stands.release()


def reach(point: str) -> None:
    """What `crash_points.reach` does here."""
    work = threading.current_thread()
    assert isinstance(work, Work)
    work.reach(point)


@dataclass
class Worker:
    """A worker process with one slot."""

    name: str
    queue: Queue
    gate: Gate
    runner: GenerationRunner
    shutdown: threading.Event
    work: Work | None = None

    def claim(self) -> Work | None:
        """Claim as the claim loop does; the work, if there is any."""
        for claim in self.queue.claim(limit=1, new_limit=self.gate.allows(1), model=MODEL):
            if not claim.adopted:
                self.gate.admit_new(claim.generation_id)
            self.work = Work(self.runner, claim)
        return self.work

    def die(self) -> None:
        if self.work:
            self.work.kill()
            self.work = None


def make_worker(pool: Pool, name: str, replicate: FakeReplicate, *, replace_lost: bool) -> Worker:
    with pool.connection() as connection:
        queue = Queue(
            pool,
            read_tables(connection),
            name,
            lease_seconds=LEASE_SECONDS,
            give_up_after_seconds=GIVE_UP_AFTER_SECONDS,
        )
    gate, shutdown = Gate("worker-0", CreateRate(1e9)), threading.Event()
    retry = DatabaseRetry(shutdown)
    chosen = settings(
        fallback_prompt=FALLBACK,
        replace_lost=replace_lost,
        settle_seconds=SETTLE_SECONDS,
        give_up_after_seconds=GIVE_UP_AFTER_SECONDS,
        cancel_after_seconds=int(CANCEL_AFTER_SECONDS),
    )
    runner = GenerationRunner(
        chosen,
        queue=queue,
        client=replicate,
        gate=gate,
        retry=retry,
    )
    return Worker(name, queue, gate, runner, shutdown)
