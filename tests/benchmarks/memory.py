"""Whether imagegen's memory grows with the predictions that it has made."""

from dataclasses import dataclass

from tests.benchmarks import load
from tests.benchmarks.system import System, finish, mint

AT_ONCE = 2500
FIRST = 5_000  # by then everything has been used, and all pools are full
LAST = 50_000


@dataclass(frozen=True)
class Memory:
    """Proportional set size of imagegen's processes, in MiB."""

    first: float
    last: float


def measure(system: System) -> Memory:
    megabytes: dict[int, float] = {}
    with system.connect() as connection:
        load.warm(system, connection, [0.0])
        for made in range(AT_ONCE, LAST + 1, AT_ONCE):
            mint(connection, ["memory"] * AT_ONCE)
            finish(system, connection)
            megabytes[made] = system.pss_megabytes()
    return Memory(megabytes[FIRST], megabytes[LAST])
