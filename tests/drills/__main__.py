"""`python -m tests.drills`: the long drills, with figures. Exits 1 where a promise is broken."""

import contextlib
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click

from tests.drills import kills as kill_drill
from tests.drills import rolls as roll_drill
from tests.drills import schedule, takeover
from tests.drills.stage import Stage, stage
from tests.judge import judge_counters, judge_what_is_left, violations

ROUNDS = 3  # of measuring a takeover


@click.group(invoke_without_command=True)
@click.option("--events", default=200, show_default=True, help="How many things go wrong.")
@click.option("--tokens", default=500, show_default=True, help="Minted along the way.")
@click.option("--seed", type=int, help="Of the schedule; a new one when not given.")
@click.pass_context
def main(context: click.Context, events: int, tokens: int, seed: int | None) -> None:
    """Let everything go wrong in a random order, and judge. About three minutes."""
    for number in (signal.SIGINT, signal.SIGTERM):  # clean up, in the background of a shell too
        signal.signal(number, signal.default_int_handler)
    if context.invoked_subcommand is not None:
        return
    seed = a_seed(seed)
    steps = schedule.plan(seed, events=events, tokens=tokens)
    with judged("schedule") as place:
        schedule.play(place, steps, tell)
        for kind, count in sorted(Counter(step.kind for step in steps).items()):
            click.echo(f"  {kind}: {count}")
    measure()


@main.command()
@click.option("--kills", default=1000, show_default=True, help="How many, of workers mostly.")
@click.option("--procs", default=4, show_default=True, help="Workers of the supervisor.")
@click.option("--seed", type=int, help="Of the kills; a new one when not given.")
def kills(kills: int, procs: int, seed: int | None) -> None:
    """kill -9 of workers and supervisors, several a second, under load."""
    seed = a_seed(seed)
    with judged("kills", procs=procs, WORKER_BATCH_SIZE="5") as place:
        killed = kill_drill.kill_again_and_again(place, kills=kills, seed=seed, tell=tell)
        click.echo(f"  killed: {killed.workers} workers, {killed.supervisors} supervisors")


@main.command()
@click.option("--rolls", default=50, show_default=True, help="How often all workers are replaced.")
def rolls(rolls: int) -> None:
    """Rolling restarts by SIGHUP, under load: no request more, no failure."""
    with judged("rolls", IMAGEGEN_GRACE_SECONDS="20") as place:
        roll_drill.roll(place, rolls=rolls, tell=tell)
        judge_counters(place.program, place.sandbox)
        assert place.program.events("process.died") == []
        assert place.program.stop() == 0
        assert len(place.sandbox.ledger.creates()) == place.minted


def measure() -> None:
    """How soon predictions are watched again."""
    with judged("takeover") as place:
        replaced = takeover.seconds_to_replace(place, ROUNDS)
        taken_over = takeover.seconds_to_take_over(place)
        click.echo(f"  worker killed → watched again: {takeover.in_words(replaced)}")
        click.echo(
            f"  supervisor killed → another one watches: {takeover.in_words(taken_over)}"
            f" (lease {takeover.TAKEOVER_LEASE_SECONDS:g} s, poll 1 s)"
        )
        assert max(taken_over) <= takeover.LONGEST_TAKEOVER_SECONDS, "slower than lease and poll"


@contextlib.contextmanager
def judged(name: str, *, procs: int = 2, **settings: str) -> Iterator[Stage]:
    """A stage for a drill, its figures, and the verdict; the folder is kept where it is guilty."""
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix=f"imagegen-drill-{name}-"))
    with stage(folder, procs=procs, **settings) as place:
        try:
            yield place
            found = list(violations(place.site, place.sandbox))
            judge_what_is_left(place.site)
        except AssertionError as broken:
            told = "".join(traceback.format_exception(broken))
            found = [told, *violations(place.site, place.sandbox)]
        tell_figures(name, place, time.monotonic() - began)
    for violation in found:
        click.echo(f"VIOLATION: {violation}")
    if found:
        click.echo(f"logs: {folder}")
        sys.exit(1)
    for log in folder.glob("*"):
        log.unlink()
    folder.rmdir()


def tell_figures(name: str, place: Stage, seconds: float) -> None:
    paid = place.sandbox.predictions.paid_by_prompt()
    figures = {
        "tokens": place.minted,
        "by status": place.site.statuses(),
        "supervisors": place.supervisors,
        "predictions": len(place.sandbox.predictions),
        "POSTs": len(place.sandbox.ledger.creates()),
        "lost": place.minted - place.site.statuses().get("uploading", 0),
        "paid twice": sum(times > 1 for times in paid.values()),
        "seconds": round(seconds, 1),
    }
    click.echo(f"{name}: " + ", ".join(f"{what} {value}" for what, value in figures.items()))


def a_seed(seed: int | None) -> int:
    seed = random.randrange(1_000_000) if seed is None else seed
    click.echo(f"--seed {seed}")
    return seed


def tell(what: str) -> None:
    click.echo(f"{time.strftime('%H:%M:%S')} {what}")


if __name__ == "__main__":
    main()
