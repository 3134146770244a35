"""`python -m tests.benchmarks`: what a running system does and costs, beside its goals."""

import json
import os
import signal
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import click

from tests.benchmarks.figures import Figure, spreads, table_of_runs
from tests.benchmarks.rows import ROWS, Options, tell

LOOP = 1_000_000


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(ROWS)), metavar="[ROW]...")
@click.option("--runs", default=3, show_default=True, help="Runs of each row.")
@click.option("--long", is_flag=True, help="Also memory, and claims among 10,000,000 tokens.")
@click.option("--supervisors", is_flag=True, help="Also 1, 2, 4 and 8 supervisors.")
@click.option("--pooled", is_flag=True, help="Also the first three rows through PgBouncer.")
@click.option("--json", "as_json", is_flag=True, help="The figures as JSON instead of a table.")
@click.option("--raw", type=click.Path(path_type=Path), help="A file for each run's figures.")
def main(
    *,
    names: tuple[str, ...],
    runs: int,
    long: bool,
    supervisors: bool,
    pooled: bool,
    as_json: bool,
    raw: Path | None,
) -> None:
    """Run imagegen on a fresh PostgreSQL with a stand-in for Replicate, and print what it does and
    costs: the least, median and greatest value of several runs.

    ROW is one of load, lognormal, burst, latency, idle, mint, claims, page, start, memory,
    supervisors and pooled; without any, all but the last three. Exits 0 whether goals are met or
    missed. What each run measured goes to a file in the system's temporary folder, or to --raw.
    """
    # SIGTERM cleans up as Ctrl-C does; in the background of a shell even that is ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    asked = {"memory": long, "supervisors": supervisors, "pooled": pooled}
    default = {name for name, row in ROWS.items() if not (names or row.on_request)}
    chosen = [name for name in ROWS if name in {*names, *default} or asked.get(name)]
    raw = raw or Path(tempfile.gettempdir(), f"imagegen-benchmarks-{time.time_ns()}.jsonl")
    tell(f"{_machine()}; raw results in {raw}")
    found: list[list[Figure]] = []
    with raw.open("a") as lines:
        for name in chosen:
            for run in ROWS[name].measure(Options(runs=runs, long=long)):
                found.append(run)
                result = {"row": name, "at": time.time(), "figures": [asdict(each) for each in run]}
                print(json.dumps(result), file=lines, flush=True)
    tell(_machine())
    medians = spreads(found)
    if as_json:
        click.echo(json.dumps([each.as_json() for each in medians], indent=2))
    else:
        click.echo(table_of_runs(medians))


def _machine() -> str:
    """What changes every figure: the machine, and what else it does."""
    began = time.process_time()
    sum(number * number for number in range(LOOP))
    milliseconds = 1000 * (time.process_time() - began)
    load_average, _, _ = os.getloadavg()
    return (
        f"{os.cpu_count()} cores, load average {load_average:.1f}, "
        f"a loop of {LOOP:,} takes {milliseconds:.0f} ms of CPU"
    )


if __name__ == "__main__":
    main()
