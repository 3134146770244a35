"""How long a mint waits until its request reaches Replicate, when there are free slots."""

import random
import statistics
import time
from dataclasses import dataclass

from tests.benchmarks.system import System, mint, unfinished
from tests.support.processes import wait_for

# Ten mints a second, at 0.2 s each: two or three of twenty slots are busy.
PREDICTION_SECONDS = 0.2
SHORTEST_INTERVAL_SECONDS = 0.05
LONGEST_INTERVAL_SECONDS = 0.15


@dataclass(frozen=True)
class Latency:
    """Milliseconds from the return of COMMIT to the arrival of the POST at the provider."""

    p50: float
    p95: float
    p99: float


def measure(system: System, *, mints: int) -> Latency:
    """Mint one token after the other, at random intervals, each in its own transaction."""
    system.sandbox.set_latency(PREDICTION_SECONDS)
    committed: dict[str, float] = {}  # monotonic, by prompt
    with system.connect() as connection:
        for number in range(mints):
            time.sleep(random.uniform(SHORTEST_INTERVAL_SECONDS, LONGEST_INTERVAL_SECONDS))
            prompt = f"single {number}"
            mint(connection, [prompt])
            committed[prompt] = time.monotonic()
        wait_for("the single mints to end", lambda: not unfinished(connection))
    arrived = {entry.prompt: entry.at_seconds for entry in system.sandbox.ledger.creates()}
    waited = [1000 * (arrived[prompt] - seconds) for prompt, seconds in committed.items()]
    percentiles = statistics.quantiles(waited, n=100, method="inclusive")
    return Latency(p50=percentiles[49], p95=percentiles[94], p99=percentiles[98])
