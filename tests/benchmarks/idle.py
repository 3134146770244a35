"""What imagegen costs when there is nothing to do."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from imagegen.demo.postgres import DATABASE
from tests.benchmarks import load
from tests.benchmarks.system import Connection, Cost, System, number

# PostgreSQL's processes report their counts 10 s after their last transaction at the latest.
SETTLE_SECONDS = 12.0
WATCH_SECONDS = 20.0

TRANSACTIONS = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = %s"


@dataclass(frozen=True)
class Idle:
    """A running system with an empty queue."""

    imagegen_percent: float  # CPU of one core, all processes of imagegen
    postgres_percent: float
    megabytes: float  # proportional set size of imagegen's processes
    sessions: float  # on the database
    transactions_per_second: float


@dataclass(frozen=True)
class Look:
    """The counters at one moment; all of them only grow."""

    at_seconds: float  # monotonic
    cost: Cost
    transactions: float


def measure(system: System) -> Idle:
    """Let it work for a moment, then leave it alone."""
    with system.connect() as connection:
        load.warm(system, connection, [0.5])
    with system.observe() as observer, _without_autovacuum(observer):
        time.sleep(SETTLE_SECONDS)
        before = _look(system, observer)
        time.sleep(WATCH_SECONDS)
        after = _look(system, observer)
        sessions = load.sessions(observer)
    seconds = after.at_seconds - before.at_seconds
    cost = after.cost.since(before.cost)
    return Idle(
        imagegen_percent=100 * cost.imagegen / seconds,
        postgres_percent=100 * cost.postgres / seconds,
        megabytes=system.pss_megabytes(),
        sessions=sessions,
        transactions_per_second=(after.transactions - before.transactions) / seconds,
    )


def _look(system: System, observer: Connection) -> Look:
    transactions = number(observer, TRANSACTIONS, DATABASE)
    return Look(time.monotonic(), system.cost(), transactions)


@contextmanager
def _without_autovacuum(observer: Connection) -> Iterator[None]:
    """Its transactions would be counted as imagegen's."""
    observer.execute("ALTER SYSTEM SET autovacuum = off")
    observer.execute("SELECT pg_reload_conf()")
    yield
    observer.execute("ALTER SYSTEM RESET autovacuum")
    observer.execute("SELECT pg_reload_conf()")
