"""The network is cut while requests leave: a request that was given up must not arrive later."""

import contextlib
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from tests.drills.namespaces import NAME, SERVER, Network
from tests.drills.stage import Around, Stage
from tests.support.processes import Site, wait_for
from tests.support.proxy import Proxy
from tests.support.sandbox import Sandbox
from tests.support.tls_front import TlsFront

# One for each slot: so their connections are open when the network is cut.
WARM = 20
LOAD = 60
LATENCY_SECONDS = 0.3
SETTINGS = {
    "IMAGEGEN_CREATE_RATE": "100000",
    # A worker that stands still is left alone: its kernel must give up by itself.
    "IMAGEGEN_WATCHDOG_SECONDS": "600",
}
# Requests are written within a second after the cut.
LATEST_HIT_SECONDS = 1.0
KILLED = 0.5  # the part of the hits that kill; the others freeze
# A worker may stand still for longer than its request may be on its way.
LONGEST_FREEZE_SECONDS = 90.0
LONGEST_PAUSE_SECONDS = 20.0
# By default a kernel goes on to deliver the data of a closed socket for this time.
LATEST_SECONDS = 120.0
# A request that is not in the list is sent again after a minute, and closed gates take another.
QUIET_SECONDS = 420.0


def apart(network: Network, sandbox: Sandbox, tls_folder: Path | None) -> Around:
    """Put the network between imagegen and the sandbox; PostgreSQL is on imagegen's side."""

    @contextlib.contextmanager
    def around(site: Site) -> Iterator[None]:
        database_port = urlsplit(site.database_url).port
        assert database_port is not None
        with network.inside("client"):
            database = Proxy(database_port, port=database_port)
        with network.inside("server"):
            if tls_folder is None:
                front = Proxy(sandbox.port, host=SERVER)
            else:
                front = TlsFront(sandbox.port, tls_folder, host=SERVER, name=NAME)
        site.launcher = network.launcher
        site.provider_url = f"http://{NAME}:{front.port}"
        if isinstance(front, TlsFront):
            site.settings |= front.settings
        with database, front:
            yield

    return around


def cut_again_and_again(
    stage: Stage,
    network: Network,
    *,
    cuts: int,
    seconds: tuple[float, float],
    freeze: bool,
    seed: int,
    tell: Callable[[str], None],
) -> None:
    """Cut the network `cuts` times, each time as tokens are minted; wait until all is quiet."""
    dice = random.Random(seed)
    for number in range(1, cuts + 1):
        warm(stage)
        length_seconds = dice.uniform(*seconds)
        with network.cut():
            ends_at = time.monotonic() + length_seconds
            stage.mint(LOAD)
            what = hit(stage, dice) if freeze else "nobody hit"
            time.sleep(max(ends_at - time.monotonic(), 0.0))
        unknown = len(stage.program.events("prediction.create.unknown"))
        tell(f"cut {number}: {length_seconds:.0f} s, {what}; {unknown} POSTs without an answer")
        time.sleep(dice.uniform(0.0, LONGEST_PAUSE_SECONDS))
    time.sleep(LATEST_SECONDS)
    wait_for("every token to end", lambda: stage.unfinished() == 0, QUIET_SECONDS)
    stage.finish()


def warm(stage: Stage) -> None:
    """Wait until the network works again, and slots are free whose connections are open."""
    before = images(stage)
    stage.mint(WARM)
    wait_for("images", lambda: images(stage) >= before + WARM, QUIET_SECONDS)


def images(stage: Stage) -> int:
    return stage.site.statuses().get("uploading", 0)


def hit(stage: Stage, dice: random.Random) -> str:
    """Kill or freeze a worker while its requests are in the kernel."""
    time.sleep(dice.uniform(0.0, LATEST_HIT_SECONDS))
    pid = dice.choice(wait_for("a worker", stage.workers))
    if dice.random() < KILLED:
        stage.kill(pid)
        return "a worker killed"
    seconds = dice.uniform(0.0, LONGEST_FREEZE_SECONDS)
    stage.program.kill(pid, signal.SIGSTOP)
    thawing = threading.Timer(seconds, thaw, [stage, pid])
    thawing.daemon = True
    thawing.start()
    return f"a worker frozen for {seconds:.0f} s"


def thaw(stage: Stage, pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # killed by another hit
        stage.program.kill(pid, signal.SIGCONT)
