"""The verdict on a long drill: its figures, the promises that it broke, and the logs."""

import contextlib
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from imagegen.demo.postgres import EmbeddedPostgres
from tests.benchmarks.figures import Figure
from tests.drills.stage import Around, Stage, stage
from tests.support.judge import judge_what_is_left, paid_too_often, violations
from tests.support.processes import Site
from tests.support.sandbox import Sandbox


@contextlib.contextmanager
def judged(
    name: str,
    around: Around = contextlib.nullcontext,
    server: EmbeddedPostgres | None = None,
    judge: Callable[[Site, Sandbox], Iterator[str]] = violations,
    /,
    *,
    procs: int = 2,
    sandbox: Sandbox | None = None,
    **settings: str,
) -> Iterator[Stage]:
    """A stage for a drill, its figures, and the verdict; the folder is kept where it is guilty."""
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix=f"imagegen-drill-{name}-"))
    with stage(folder, around, server, procs=procs, sandbox=sandbox, **settings) as place:
        try:
            yield place
            found = list(judge(place.site, place.sandbox))
            judge_what_is_left(place.site)
        except AssertionError as broken:
            told = "".join(traceback.format_exception(broken))
            found = [told, *judge(place.site, place.sandbox)]
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
    figures = {
        "tokens": place.minted,
        "by status": place.site.statuses(),
        "supervisors": place.supervisors,
        "predictions": len(place.sandbox.predictions),
        "POSTs": len(place.sandbox.ledger.creates()),
        "lost": place.minted - place.site.statuses().get("uploading", 0),
        "paid twice": len(paid_too_often(place.site, place.sandbox)),
        "seconds": round(seconds, 1),
    }
    click.echo(f"{name}: " + ", ".join(f"{what} {value}" for what, value in figures.items()))


def a_seed(seed: int | None) -> int:
    seed = random.randrange(1_000_000) if seed is None else seed
    click.echo(f"--seed {seed}")
    return seed


def tell(what: str) -> None:
    click.echo(f"{time.strftime('%H:%M:%S')} {what}")


def judge_figures(figures: list[Figure]) -> None:
    missed = [figure.name for figure in figures if figure.verdict == "missed"]
    assert not missed, f"missed: {', '.join(missed)}"
