"""`python -m tests.benchmarks`: what a running system does and costs, beside its goals."""

import json
import signal
from collections.abc import Iterator
from dataclasses import asdict

import click

from tests.benchmarks import claims, idle, latency, load, page, start, system
from tests.benchmarks.claims import Claims
from tests.benchmarks.figures import Figure, table
from tests.benchmarks.idle import Idle
from tests.benchmarks.latency import Latency
from tests.benchmarks.load import Load
from tests.benchmarks.page import Looks
from tests.benchmarks.start import Start


@click.command()
@click.option("--tokens", default=400, show_default=True, help="Minted in one go.")
@click.option("--latency", "latency_seconds", default=1.0, show_default=True,
              help="Seconds that a prediction of these takes.")  # fmt: skip
@click.option("--procs", default=2, show_default=True, help="Worker processes.")
@click.option("--slots", default=10, show_default=True, help="Tokens at once in each of them.")
@click.option("--mints", default=100, show_default=True, help="Single mints into an idle system.")
@click.option("--idle-seconds", default=20.0, show_default=True, help="How long to watch idleness.")
@click.option("--claims/--no-claims", "with_claims", default=True, show_default=True,
              help="Measure claims and the page among a million finished tokens.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="The figures as JSON instead of a table.")
def main(
    *,
    tokens: int,
    latency_seconds: float,
    procs: int,
    slots: int,
    mints: int,
    idle_seconds: float,
    with_claims: bool,
    as_json: bool,
) -> None:
    """Run imagegen on a fresh PostgreSQL and the sandbox, and print what it does and costs.

    Takes about two minutes. Exits 0 whether goals are met or missed.
    """
    # SIGTERM cleans up as Ctrl-C does; in the background of a shell even that is ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    figures: list[Figure] = []
    tell("starting PostgreSQL")
    with system.site() as (server, place):
        tell("running imagegen --help")
        figures += of_start(start.measure(place))
        tell("starting imagegen")
        with system.running(server, place, procs=procs, slots=slots) as running:
            tell(f"minting {tokens} tokens in one go")
            burst = load.measure(
                running, tokens=tokens, latency_seconds=latency_seconds, slots=procs * slots
            )
            tell(f"minting {mints} tokens, one at a time")
            single = latency.measure(running, mints=mints)
            tell(f"watching it do nothing for {idle_seconds:g} s")
            rest = idle.measure(running, seconds=idle_seconds)
        figures = [*of_load(burst), *of_latency(single), *of_idle(rest), *figures]
        if with_claims:
            tell("claiming among a million finished tokens")
            few, many = claims.measure(server, place)
            figures += of_claims(few, many)
            tell("looking at them")
            figures += of_looks(page.measure(many.database_url), many.finished)
    click.echo(as_json_text(figures) if as_json else table(figures))


def as_json_text(figures: list[Figure]) -> str:
    rows = [asdict(figure) | {"verdict": figure.verdict} for figure in figures]
    return json.dumps(rows, indent=2)


def tell(what: str) -> None:
    click.echo(f"{what} …", err=True)


def of_load(burst: Load) -> Iterator[Figure]:
    yield Figure("throughput", burst.images_per_second, "/s")
    yield Figure("throughput, part of the ideal", burst.part_of_ideal, "", at_least=0.90)
    yield Figure("CPU for 1000 tokens", burst.cpu_seconds_per_1000, "s")
    yield Figure("memory under load (PSS)", burst.megabytes, "MB", at_most=120)
    yield Figure("connections under load", burst.connections, "", at_most=12)


def of_latency(single: Latency) -> Iterator[Figure]:
    yield Figure("commit to POST, p50", single.p50, "ms")
    yield Figure("commit to POST, p95", single.p95, "ms", at_most=20)
    yield Figure("commit to POST, p99", single.p99, "ms")


def of_idle(rest: Idle) -> Iterator[Figure]:
    yield Figure("idle CPU, of one core", rest.cpu_percent, "%", at_most=0.5)
    yield Figure("idle transactions", rest.transactions_per_second, "/s", at_most=5)
    yield Figure("memory idle (PSS)", rest.megabytes, "MB", at_most=120)


def of_start(started: Start) -> Iterator[Figure]:
    yield Figure("imagegen --help", started.seconds, "s", at_most=0.3)


def of_claims(few: Claims, many: Claims) -> Iterator[Figure]:
    for each in (few, many):
        yield Figure(f"claim, empty queue, {each.finished:,} finished", each.empty, "ms")
        yield Figure(f"claim, 20 waiting, {each.finished:,} finished", each.waiting, "ms")
    yield Figure("claim, empty queue, many ÷ few", many.empty / few.empty, "", at_most=1.5)
    yield Figure("claim, 20 waiting, many ÷ few", many.waiting / few.waiting, "", at_most=1.5)


def of_looks(looks: Looks, tokens: int) -> Iterator[Figure]:
    yield Figure(f"status page, {tokens:,} tokens", looks.page, "ms", at_most=200)
    yield Figure(f"/metrics, {tokens:,} tokens", looks.metrics, "ms", at_most=200)


if __name__ == "__main__":
    main()
