"""A burst: many tokens minted in one go."""

import time
from dataclasses import dataclass

from imagegen.demo.postgres import DATABASE
from tests.benchmarks import processes
from tests.benchmarks.system import (
    APPLICATION_NAME,
    Connection,
    System,
    mint,
    number,
    unfinished,
)
from tests.support.processes import wait_for

# Often enough to see a peak, seldom enough that the looking (a few ms) is no load.
SAMPLE_SECONDS = 0.5

BURST = "burst"  # the prompt of its tokens

CONNECTIONS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = %s AND backend_type = 'client backend' AND application_name <> %s"""

# Both on PostgreSQL's clock. An image is counted when the statement that handed it on began.
NOW = "SELECT extract(epoch FROM clock_timestamp())::float"
IMAGES_PER_SECOND = """
    SELECT coalesce(count(*) / (extract(epoch FROM max(closed_at))::float - %s), 0)
    FROM generations
    WHERE state = 'succeeded' AND prompt = %s"""


@dataclass(frozen=True)
class Load:
    """What a burst took and cost."""

    images_per_second: float  # from the commit of the mints to the last `uploading`
    ideal_per_second: float  # all slots ÷ latency: if every slot did nothing but wait for Replicate
    cpu_seconds_per_1000: float  # user and system, all processes of imagegen
    megabytes: float  # proportional set size of all of them, at its most
    connections: int  # to the database, at their most

    @property
    def part_of_ideal(self) -> float:
        return self.images_per_second / self.ideal_per_second


@dataclass(frozen=True)
class Sample:
    """One look at a system under load."""

    megabytes: float
    connections: int


def measure(system: System, *, tokens: int, latency_seconds: float, slots: int) -> Load:
    """Mint that many tokens at once and wait for the last image.

    Before that every slot gets a token that is not counted: a system that runs has connected, and
    knows how long a prediction takes.
    """
    system.sandbox.set_latency(latency_seconds)
    root = system.imagegen.pid
    with system.connect() as connection, system.observe() as observer:
        mint(connection, ["warm-up"] * slots)
        wait_for("the warm-up to end", lambda: not unfinished(connection))
        cpu_before = processes.cpu_seconds(root)
        mint(connection, [BURST] * tokens)
        began = number(connection, NOW)
        samples = []
        while unfinished(connection):
            assert system.imagegen.process.poll() is None, system.imagegen.log.read_text()
            time.sleep(SAMPLE_SECONDS)
            samples.append(_sample(root, observer))
        cpu_after = processes.cpu_seconds(root)
        images_per_second = number(connection, IMAGES_PER_SECOND, began, BURST)
    return Load(
        images_per_second=images_per_second,
        ideal_per_second=slots / latency_seconds,
        cpu_seconds_per_1000=(cpu_after - cpu_before) / tokens * 1000,
        megabytes=max(sample.megabytes for sample in samples),
        connections=max(sample.connections for sample in samples),
    )


def _sample(root: int, observer: Connection) -> Sample:
    connections = number(observer, CONNECTIONS, DATABASE, APPLICATION_NAME)
    return Sample(processes.pss_megabytes(root), int(connections))
