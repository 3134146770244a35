"""Several supervisors on one database: how the throughput grows, and which locks they wait for."""

import itertools
from dataclasses import dataclass, field

from imagegen.demo.postgres import DATABASE
from tests.benchmarks import load
from tests.benchmarks.load import Load
from tests.benchmarks.system import Connection, System, number

COUNTS = (1, 2, 4, 8)
TOKENS = 1500
LATENCY_SECONDS = 0.2
LOOK_SECONDS = 0.05
# The throughput bends where twice the supervisors do less than this much more.
BEND = 1.5

LOCK_WAITS = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"""


@dataclass
class LockWaits:
    """How many sessions wait for a lock, at each look."""

    observer: Connection
    looks: list[float] = field(default_factory=list)

    def look(self) -> None:
        self.looks.append(number(self.observer, LOCK_WAITS, DATABASE))

    @property
    def mean(self) -> float:
        return sum(self.looks) / len(self.looks)


@dataclass(frozen=True)
class Throughput:
    """The throughput of several supervisors together."""

    supervisors: int
    load: Load
    lock_waits: float  # sessions that wait for a lock, mean


def measure(system: System) -> Throughput:
    with system.observe() as observer:
        waits = LockWaits(observer)
        times = [LATENCY_SECONDS] * TOKENS
        found = load.measure(system, times, times[:1], look=waits.look, look_seconds=LOOK_SECONDS)
    return Throughput(len(system.programs), found, waits.mean)


def bends_at(found: list[Throughput]) -> int:
    """Return from how many supervisors on twice as many help little; the last if nowhere."""
    for before, after in itertools.pairwise(found):
        if after.load.per_second < BEND * before.load.per_second:
            return before.supervisors
    return found[-1].supervisors
