"""How long imagegen takes to start."""

import statistics
import time
from dataclasses import dataclass

from tests.benchmarks import stand_in, system
from tests.benchmarks.system import Connection, Ground
from tests.support.processes import Site, wait_for

HELPS = 5
# The host's clock, which PostgreSQL on the same host shares.
FIRST_CLAIM = """
    SELECT coalesce(extract(epoch FROM min(opened_at))::float, 0) FROM generations
    WHERE opened_at > to_timestamp(%s)"""


@dataclass(frozen=True)
class Start:
    """Seconds of wall time, from the shell's point of view."""

    help_seconds: float  # `imagegen --help`, median
    claim_seconds: float  # `imagegen supervise`, to the first claim of a token that waits


def measure(ground: Ground) -> Start:
    site = ground.site
    help_seconds = statistics.median(_help_seconds(site) for _ in range(HELPS))
    with stand_in.running() as replicate, system.connect(ground.server.url) as connection:
        site.provider_url = replicate.url
        _claim_seconds(site, connection)  # compiles the modules
        claim_seconds = _claim_seconds(site, connection)
    return Start(help_seconds, claim_seconds)


def _claim_seconds(site: Site, connection: Connection) -> float:
    system.mint(connection, ["first"])
    began = time.time()
    with site.program("supervise", "--procs", str(system.PROCS)) as program:
        claimed = wait_for("a claim", lambda: system.number(connection, FIRST_CLAIM, began))
        program.stop()
    return claimed - began


def _help_seconds(site: Site) -> float:
    began = time.monotonic()
    site.run("--help").check_returncode()
    return time.monotonic() - began
