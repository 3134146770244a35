"""How long the command needs to say what it can do."""

import statistics
import time
from dataclasses import dataclass

from tests.support.processes import Site

RUNS = 5


@dataclass(frozen=True)
class Start:
    """`imagegen --help`, from the shell's point of view."""

    seconds: float  # wall time, median


def measure(place: Site) -> Start:
    """Run it a few times; the migration before has compiled the modules."""
    place.run("--help")  # those that a migration does not need
    return Start(statistics.median(_seconds(place) for _ in range(RUNS)))


def _seconds(place: Site) -> float:
    began = time.monotonic()
    place.run("--help")
    return time.monotonic() - began
