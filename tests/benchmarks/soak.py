"""`python -m tests.benchmarks.soak`: what a steady load costs each minute, with lost answers."""

import contextlib
import itertools
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import click

from imagegen.demo.postgres import EmbeddedPostgres
from tests.benchmarks import processes, system
from tests.benchmarks.system import Connection, mint, number, unfinished
from tests.support.judge import judge
from tests.support.processes import Program, wait_for
from tests.support.sandbox import Fault, SandboxClient

STEP_SECONDS = 0.5
MINUTE_SECONDS = 60.0
# After the last mint: a token whose answer is lost waits for the settle time, perhaps twice, and
# when nothing else is made any more, for as long as the list may lag.
LAST_SECONDS = 700.0

IMAGES = "SELECT count(*) FROM tokens_s0 WHERE status = 'uploading'"
LISTS = 'imagegen_replicate_request_duration_seconds_count{operation="list"}'


@dataclass(frozen=True)
class Running:
    """What is measured, and the sandbox that loses its answers."""

    server: EmbeddedPostgres
    imagegen: Program
    sandbox: SandboxClient


@dataclass(frozen=True)
class Reading:
    """What was made and used since the start. Seconds are of CPU, user and system."""

    images: float
    workers_seconds: float
    all_seconds: float  # of all processes of imagegen
    postgres_seconds: float
    list_pages: float


def faults(number: int) -> Fault:
    """Return how the first answer about one prompt is lost: half of them after the prediction was
    made."""
    prompt = f"lost {number}."
    made = number % 2 == 0
    if number % 4 < 2:
        return Fault.resets(creates=made, prompt=prompt, times=1)
    return Fault.answers(503, creates=made, prompt=prompt, times=1)


def read(running: Running, connection: Connection) -> Reading:
    assert running.server.pid is not None
    return Reading(
        number(connection, IMAGES),
        sum(map(processes.cpu_seconds, running.imagegen.worker_pids().values())),
        processes.cpu_seconds(running.imagegen.pid),
        processes.cpu_seconds(running.server.pid),
        running.imagegen.metrics().get(LISTS, 0.0),
    )


def run_minutes(
    running: Running, connection: Connection, *, seconds: float, rate: float, lost: float
) -> Iterator[str]:
    """Mint for that time at a steady rate; yield a line of figures each minute."""
    tokens = itertools.count(1)
    minted, losses = 0, 0
    began = minute_began = time.monotonic()
    before = read(running, connection)
    while (now := time.monotonic()) < began + seconds:
        prompts = []
        while minted < (now - began) * rate:
            minted = next(tokens)
            prompt = f"picture {minted}."
            if int(minted * lost) > losses:
                losses += 1
                prompt = f"lost {losses}."
                running.sandbox.faults.add(faults(losses))
            prompts.append(prompt)
        mint(connection, prompts)
        if now >= minute_began + MINUTE_SECONDS:
            after, minute_began = read(running, connection), now
            yield line(running, before, after)
            before = after
        time.sleep(STEP_SECONDS)


def line(running: Running, before: Reading, after: Reading) -> str:
    images = after.images - before.images
    thousands = max(images, 1.0) / 1000
    return (
        f"{images:7.0f}"
        f" {(after.workers_seconds - before.workers_seconds) / thousands:9.2f}"
        f" {(after.all_seconds - before.all_seconds) / thousands:9.2f}"
        f" {(after.postgres_seconds - before.postgres_seconds) / thousands:11.2f}"
        f" {processes.pss_megabytes(running.imagegen.pid):8.1f}"
        f" {after.list_pages - before.list_pages:11.0f}"
    )


@click.command()
@click.option("--seconds", default=1800.0, show_default=True, help="How long tokens are minted.")
@click.option("--rate", default=8.0, show_default=True, help="Tokens a second.")
@click.option("--lost", default=0.03, show_default=True,
              help="The part of the tokens whose first answer is lost.")  # fmt: skip
@click.option("--procs", default=2, show_default=True, help="Worker processes.")
def main(*, seconds: float, rate: float, lost: float, procs: int) -> None:
    """Mint tokens at a steady rate, lose answers, and print what each minute cost.

    Columns: images made; CPU seconds for 1000 of them, of the workers, of all of imagegen's
    processes and of PostgreSQL; memory of imagegen's processes (PSS); pages read of Replicate's
    list. Exits with 1 if a token got no image or one was paid for twice.
    """
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.default_int_handler)
    with system.ground() as ground, sandbox() as client:
        place = replace(ground.site, provider_url=client.url)
        with (
            place.supervisor(procs=procs) as imagegen,
            system.connect(place.database_url) as connection,
        ):
            running = Running(ground.server, imagegen, client)
            soak(running, connection, seconds=seconds, rate=rate, lost=lost)
            imagegen.stop()
        judge(place, client)  # type: ignore[arg-type]  # it asks as `Sandbox` does


def soak(
    running: Running, connection: Connection, *, seconds: float, rate: float, lost: float
) -> None:
    click.echo("minute  images   workers       all  PostgreSQL   PSS MB  list pages")
    figures = run_minutes(running, connection, seconds=seconds, rate=rate, lost=lost)
    for minute, each in enumerate(figures, 1):
        click.echo(f"{minute:6} {each}")
    wait_for("the last images", lambda: not unfinished(connection), LAST_SECONDS)
    shown = running.imagegen.metrics().items()
    click.echo({name: value for name, value in shown if "reconciliations_total" in name})


@contextlib.contextmanager
def sandbox() -> Iterator[SandboxClient]:
    """The sandbox as a process of its own, so that its work is not counted as imagegen's."""
    command = [sys.executable, "-m", "tests.support.sandbox"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            with SandboxClient(process.stdout.readline().strip()) as client:
                yield client
        finally:
            process.send_signal(signal.SIGTERM)


if __name__ == "__main__":
    main()
