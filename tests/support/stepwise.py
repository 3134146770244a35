"""Workers that move one step at a time, when the test says so: as far as a point, or to the end."""

import threading
from dataclasses import dataclass

from imagegen.database.connection import Pool
from imagegen.database.tables import read_tables
from imagegen.queue.queue import Claim, Queue
from imagegen.worker.create_rate import CreatePace
from imagegen.worker.database_retry import Patience
from imagegen.worker.gate import Gate
from imagegen.worker.generation import Options, Recipe
from imagegen.worker.settlement import Closer
from tests.support.replicate_model import Replicate

MODEL = "owner/name"
FALLBACK = "soft colours"
LEASE_SECONDS = 17.0
SETTLE_SECONDS = 103.0
CANCEL_AFTER_SECONDS = 300.0
GIVE_UP_AFTER_SECONDS = 86_400.0
# The recipe looks at a prediction that runs until its own clock says that it is overdue.
MOST_LOOKS = 4
PATIENCE_SECONDS = 60.0


class Killed(BaseException):
    """kill -9, as far as a thread can have it."""


class Work(threading.Thread):
    """A recipe on its way with a claim, which moves only while the test waits for it: it can stand
    still at a point for as long as other steps take, then go on, or die there."""

    def __init__(self, recipe: Recipe, claim: Claim) -> None:
        super().__init__(daemon=True)
        self.claim = claim
        self.stands_at = ""
        self.stood_seconds = 0.0
        self._recipe = recipe
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
            self._recipe.run(self.claim)
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001 (raised where the test waits)
            self._error = error
        self._stands.release()


def reach(point: str) -> None:
    """What `crash.point` does here."""
    work = threading.current_thread()
    assert isinstance(work, Work)
    work.reach(point)


@dataclass
class Worker:
    """A worker process with one slot."""

    name: str
    queue: Queue
    gate: Gate
    recipe: Recipe
    handing_over: threading.Event
    work: Work | None = None

    def claim(self) -> Work | None:
        """Claim as the claim loop does; the work, if there is any."""
        for claim in self.queue.claim(limit=1, new_limit=self.gate.allows(1), model=MODEL):
            if not claim.adopted:
                self.gate.goes_ahead(claim.generation_id)
            self.work = Work(self.recipe, claim)
        return self.work

    def die(self) -> None:
        if self.work:
            self.work.kill()
            self.work = None


def make_worker(pool: Pool, name: str, replicate: Replicate, *, replace_lost: bool) -> Worker:
    with pool.connection() as connection:
        queue = Queue(
            pool,
            read_tables(connection),
            name,
            lease_seconds=LEASE_SECONDS,
            give_up_after_seconds=GIVE_UP_AFTER_SECONDS,
        )
    gate, handing_over = Gate("worker-0", CreatePace(1e9)), threading.Event()
    patience = Patience(handing_over)
    recipe = Recipe(
        queue=queue,
        provider=replicate,
        gate=gate,
        closer=Closer(
            queue,
            fallback_prompt=FALLBACK,
            replace_lost=replace_lost,
            copies=None,
            patience=patience,
        ),
        options=Options(
            model_input={},
            marker="seed",
            default_prompt=None,
            settle_seconds=SETTLE_SECONDS,
            give_up_after_seconds=GIVE_UP_AFTER_SECONDS,
            cancel_after_seconds=CANCEL_AFTER_SECONDS,
            http_images=False,
        ),
        patience=patience,
    )
    return Worker(name, queue, gate, recipe, handing_over)
