"""`python -m tests.drills night`: sets up the site of a night, runs the night, and judges it."""

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click

from tests.benchmarks.figures import table
from tests.drills import night_mishaps
from tests.drills.incidents import Hour
from tests.drills.namespaces import Network, obstacle
from tests.drills.network import apart
from tests.drills.night import Mints, Night, violations
from tests.drills.night_schedule import FACTOR, HOUR_SECONDS, KINDS, plan
from tests.drills.night_watch import METRICS_URL, watching
from tests.drills.stage import Around
from tests.drills.standby import ServerWithStandby
from tests.drills.verdict import a_seed, judge_figures, judged, tell
from tests.support.processes import Site
from tests.support.proxy import Proxy
from tests.support.sandbox import Sandbox

LATENCY_SECONDS = 1.0
# Its doctor wants 50 MB for images, and the night makes a few.
DISK_MEGABYTES = 100
SETTINGS = Hour(HOUR_SECONDS).settings | {
    "IMAGEGEN_LEASE_SECONDS": "1",
    "IMAGEGEN_TEST_SETTLE_SECONDS": "3",
    "IMAGEGEN_GRACE_SECONDS": "2",
    "IMAGEGEN_CANCEL_AFTER_SECONDS": "30",
    "IMAGEGEN_METRICS_PORT": METRICS_URL.split(":")[2].removesuffix("/metrics"),
    "IMAGEGEN_IMAGE_URL_BASE": "https://images.example.com",
}


@click.command("night")
@click.option("--minutes", default=20.0, show_default=True, help="One is 24 minutes of a night.")
@click.option("--mishaps", default=30, show_default=True, help="How many things go wrong.")
@click.option("--only", multiple=True, type=click.Choice(list(KINDS)), help="Only these kinds.")
@click.option("--seed", type=int, help="Of the night; a new one when not given.")
def command(minutes: float, mishaps: int, only: tuple[str, ...], seed: int | None) -> None:
    """A night of eight hours in 20 minutes. Needs root, Debian's iproute2 and prometheus."""
    why = obstacle() or (None if shutil.which("prometheus") else "Prometheus is not installed")
    if why:
        raise click.ClickException(why)
    seed = a_seed(seed)
    mishaps_planned = plan(seed, mishaps=mishaps, minutes=minutes, kinds=only or tuple(KINDS))
    server = ServerWithStandby(synchronous=False)
    with (
        tempfile.TemporaryDirectory(prefix="imagegen-drill-prometheus-") as prometheus_folder,
        small_disk() as disk,
        Network() as network,
        Sandbox(LATENCY_SECONDS) as sandbox,
        judged(
            "night", apart_with_images(network, sandbox), server, violations,
            procs=2, sandbox=sandbox, IMAGEGEN_KEEP_IMAGES=str(disk), **SETTINGS,
        ) as stage,
        watching(Path(prometheus_folder), network, FACTOR) as watch,
    ):  # fmt: skip
        mints = Mints(stage.site, seed)
        night = Night(stage, server, network, watch, mints, disk / "something-else", tell)
        with mints.steadily():
            night.live_through(mishaps_planned, night_mishaps.carry_out, minutes * 60)
        stage.minted = len(mints.minted_at)
        stage.finish()
        firings = watch.fired(time.time())
        figures = night.figures(firings)
        click.echo(f"{night.in_words(firings)}\n{table(figures)}")
        for kind, typed in night.commands.items():
            click.echo(f"  {kind}: {typed}")
        judge_figures(figures)


def apart_with_images(network: Network, sandbox: Sandbox) -> Around:
    """Put the network between imagegen and Replicate's API; its images are on another host."""

    @contextlib.contextmanager
    def around(site: Site) -> Iterator[None]:
        with network.inside("client"):
            images = Proxy(sandbox.port, port=sandbox.port)
        with images, apart(network, sandbox, None)(site):
            yield

    return around


@contextlib.contextmanager
def small_disk() -> Iterator[Path]:
    """A file system of its own, which can be filled."""
    with tempfile.TemporaryDirectory(prefix="imagegen-drill-images-") as folder:
        options = f"size={DISK_MEGABYTES}m,mode=0777"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)
