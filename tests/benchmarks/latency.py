"""How long a mint waits until its request reaches Replicate, when nothing else is at work."""

import random
import statistics
import time
from dataclasses import dataclass

from tests.benchmarks import load
from tests.benchmarks.system import System, finish, mint

MINTS = 200
# Each prediction has ended well before the next mint.
PREDICTION_SECONDS = 0.05
SHORTEST_INTERVAL_SECONDS = 0.2
LONGEST_INTERVAL_SECONDS = 0.3


@dataclass(frozen=True)
class Latency:
    """Milliseconds from the return of COMMIT to the arrival of the POST at the provider."""

    p50: float
    p95: float
    p99: float


def measure(system: System) -> Latency:
    """Mint one token after the other, at random intervals, each in its own transaction."""
    committed: dict[str, float] = {}  # monotonic, by prompt
    with system.connect() as connection:
        load.warm(system, connection, [PREDICTION_SECONDS])
        for number in range(MINTS):
            time.sleep(random.uniform(SHORTEST_INTERVAL_SECONDS, LONGEST_INTERVAL_SECONDS))
            prompt = f"single {number}"
            mint(connection, [prompt])
            committed[prompt] = time.monotonic()
        finish(system, connection)
    arrived = dict(system.stand_in.arrivals())
    waited = [1000 * (arrived[prompt] - seconds) for prompt, seconds in committed.items()]
    return of(waited)


def of(milliseconds: list[float]) -> Latency:
    """The percentiles of measured times."""
    percentiles = statistics.quantiles(milliseconds, n=100, method="inclusive")
    return Latency(p50=percentiles[49], p95=percentiles[94], p99=percentiles[98])
