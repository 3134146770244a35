"""What imagegen costs when there is nothing to do."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from imagegen.demo.postgres import DATABASE
from tests.benchmarks import processes
from tests.benchmarks.system import Connection, System, number

# PostgreSQL's processes report their counts 10 s after their last transaction at the latest.
SETTLE_SECONDS = 12.0

TRANSACTIONS = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = %s"


@dataclass(frozen=True)
class Idle:
    """A running system with an empty queue."""

    cpu_percent: float  # of one core, all processes of imagegen
    transactions_per_second: float
    megabytes: float  # proportional set size of all processes


@dataclass(frozen=True)
class Look:
    """The counters at one moment; all of them only grow."""

    at_seconds: float  # monotonic
    cpu_seconds: float
    transactions: float


def measure(system: System, *, seconds: float) -> Idle:
    """Leave the system alone for that long; it has worked before."""
    root = system.imagegen.pid
    with system.observe() as observer, _without_autovacuum(observer):
        time.sleep(SETTLE_SECONDS)
        before = _look(root, observer)
        time.sleep(seconds)
        after = _look(root, observer)
    lasted_seconds = after.at_seconds - before.at_seconds
    return Idle(
        cpu_percent=100 * (after.cpu_seconds - before.cpu_seconds) / lasted_seconds,
        transactions_per_second=(after.transactions - before.transactions) / lasted_seconds,
        megabytes=processes.pss_megabytes(root),
    )


def _look(root: int, observer: Connection) -> Look:
    transactions = number(observer, TRANSACTIONS, DATABASE)
    return Look(time.monotonic(), processes.cpu_seconds(root), transactions)


@contextmanager
def _without_autovacuum(observer: Connection) -> Iterator[None]:
    """Its transactions would be counted as imagegen's."""
    observer.execute("ALTER SYSTEM SET autovacuum = off")
    observer.execute("SELECT pg_reload_conf()")
    yield
    observer.execute("ALTER SYSTEM RESET autovacuum")
    observer.execute("SELECT pg_reload_conf()")
