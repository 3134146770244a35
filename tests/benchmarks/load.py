"""Many tokens minted in one go: how long they take, beside a perfect pool, and what they cost."""

import heapq
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from imagegen.demo.postgres import DATABASE
from tests.benchmarks.figures import Figure
from tests.benchmarks.system import (
    APPLICATION_NAME,
    Connection,
    Cost,
    System,
    finish,
    mint,
    number,
    unfinished,
)

# Often enough to see a peak, seldom enough that the looking (a few ms) is no load.
LOOK_SECONDS = 0.5

# After the warm-up, what may be created at once has grown again to all that the limit admits.
REST_SECONDS = 3.0

BURST = "burst"  # the prompt of its tokens
# Each worker knows how long its last 20 predictions took (imagegen/worker/poll_schedule.py).
WARM_UP_PER_SLOT = 2

# The lognormal distribution of which half takes a second at most, and 95 % four.
NORMAL_P95 = 1.6449
SIGMA = math.log(4.0) / NORMAL_P95
SEED, WARM_UP_SEED = 20, 21

SESSIONS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = %s AND backend_type = 'client backend' AND application_name <> %s"""

# Both on PostgreSQL's clock. An image is counted when the statement that handed it on began.
NOW = "SELECT extract(epoch FROM clock_timestamp())::float"
IMAGES = """
    SELECT count(*), extract(epoch FROM max(closed_at))::float FROM generations
    WHERE state = 'succeeded' AND prompt = %s"""


@dataclass(frozen=True)
class Load:
    """What a burst took and cost."""

    tokens: int
    seconds: float  # from the commit of the mints to the last `uploading`
    perfect_seconds: float  # the same by a pool that does nothing but wait for Replicate
    cost: Cost

    @property
    def per_second(self) -> float:
        return self.tokens / self.seconds

    def figures(
        self, name: str, imagegen_seconds: float, postgres_seconds: float
    ) -> Iterator[Figure]:
        """CPU of a thousand tokens, with the goals of imagegen and of PostgreSQL."""
        of_1000 = 1000 / self.tokens
        imagegen, postgres = self.cost.imagegen * of_1000, self.cost.postgres * of_1000
        yield Figure(f"{name}: CPU of 1000, imagegen", imagegen, "s", at_most=imagegen_seconds)
        yield Figure(f"{name}: CPU of 1000, PostgreSQL", postgres, "s", at_most=postgres_seconds)
        if self.cost.pooler:
            yield Figure(f"{name}: CPU of 1000, PgBouncer", self.cost.pooler * of_1000, "s")


def measure(
    system: System,
    times: Sequence[float],
    warm_up: Sequence[float],
    *,
    look: Callable[[], None] = lambda: None,
    look_seconds: float = LOOK_SECONDS,
) -> Load:
    """Mint a token for each time at once and wait for the last image; the k-th prediction takes
    the k-th time. Call `look` now and then.

    Before that every slot gets tokens that are not counted, of the times of `warm_up`: a system
    that runs has connected, and knows how long a prediction takes.
    """
    with system.connect() as connection:
        warm(system, connection, warm_up)
        time.sleep(REST_SECONDS)
        system.stand_in.set_times(times)
        before = system.cost()
        mint(connection, [BURST] * len(times))
        began = number(connection, NOW)
        while unfinished(connection):
            system.check()
            time.sleep(look_seconds)
            look()
        cost = system.cost().since(before)
        images, ended = connection.execute(IMAGES, [BURST]).fetchone() or (0, 0.0)
        assert images == len(times), f"{images} images of {len(times)} tokens"
    return Load(len(times), ended - began, perfect_seconds(times, system.slots), cost)


def warm(system: System, connection: Connection, times: Sequence[float]) -> None:
    """Let every slot make images that are not counted."""
    system.stand_in.set_times(times)
    mint(connection, ["warm-up"] * (WARM_UP_PER_SLOT * system.slots))
    finish(system, connection)


def perfect_seconds(times: Sequence[float], slots: int) -> float:
    """How long a pool without any delay takes: each slot that is free takes the next time."""
    free_at = [0.0] * slots
    for seconds in times:
        heapq.heapreplace(free_at, free_at[0] + seconds)
    return max(free_at)


def lognormal(count: int, seed: int = SEED) -> list[float]:
    """The same times at each call: half of them up to a second, 95 % up to four."""
    dice = random.Random(seed)
    return [dice.lognormvariate(0.0, SIGMA) for _ in range(count)]


class Peaks:
    """The most memory and the most sessions of imagegen that were seen."""

    def __init__(self, system: System, observer: Connection) -> None:
        self._system = system
        self._observer = observer
        self.megabytes = 0.0
        self.sessions = 0.0

    def look(self) -> None:
        self.megabytes = max(self.megabytes, self._system.pss_megabytes())
        self.sessions = max(self.sessions, sessions(self._observer))


def sessions(observer: Connection) -> float:
    """How many sessions imagegen has on the database."""
    return number(observer, SESSIONS, DATABASE, APPLICATION_NAME)
