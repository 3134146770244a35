"""`imagegen demo`."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from imagegen.cli.interrupts import Interrupts
from imagegen.cli.options import failed, misconfigured
from imagegen.cli.output import Column, cut, harmless, table, terminal_width
from imagegen.config import read

if TYPE_CHECKING:
    from imagegen.demo import Demo, Progress, Result

COLOURS = {"uploading": "green", "failed": "red"}
BAR_PART = 5  # of the terminal's width; more of it is for what is said beside the bar
# A narrower terminal has no room for how long it took.
ROOMY_WIDTH = 60


@click.command()
@click.option(
    "--folder", type=click.Path(file_okay=False, path_type=Path), default="imagegen-demo",
    show_default=True, help="Where the contact sheet and the log go.",
)  # fmt: skip
@click.option("--live", is_flag=True, help="Use Replicate itself, which costs about $0.06.")
def demo(*, folder: Path, live: bool) -> None:
    """Show the main job on twenty mints, and what becomes of each.

    The database and the two workers are real. Replicate's API is played by a sandbox on this
    machine; --live uses the real one with REPLICATE_API_TOKEN, where nothing is known to go wrong
    beforehand. Needs imagegen[demo].

    Example: imagegen demo
    """
    # First of all: whatever is imported or started, no key that is pressed may break it off.
    interrupts = Interrupts()

    from imagegen.demo import Demo, DemoError, EmbeddedPostgresError  # noqa: PLC0415

    live_environment = _live_environment() if live else None
    try:
        with Demo(folder, live_environment) as running, interrupts.heard():
            endings = _watch(running)
            sheet = _write_contact_sheet(running, endings)
    except KeyboardInterrupt:
        raise failed("interrupted; nothing is left running") from None
    except (DemoError, EmbeddedPostgresError) as error:
        raise failed(str(error)) from None
    for line in endings_table(endings, terminal_width()):
        click.echo(line)
    click.echo(f"\nThe images: {sheet.absolute()}")
    if not live and not all(ending.as_expected for ending in endings):
        raise failed("not every token ended as it should have")


def _live_environment() -> dict[str, str]:
    from imagegen.demo import LIVE_SETTINGS, live_settings  # noqa: PLC0415
    from imagegen.errors import CannotStartError  # noqa: PLC0415
    from imagegen.replicate import tls_context  # noqa: PLC0415

    _, wrong = read(os.environ, {}, LIVE_SETTINGS)
    if wrong:
        raise misconfigured(wrong)
    try:
        tls_context()
    except CannotStartError as error:
        raise failed(str(error)) from None
    return live_settings(os.environ)


def _watch(running: "Demo") -> "list[Result]":
    address = urlsplit(running.database_url)
    click.echo(f"PostgreSQL        {address.hostname}:{address.port}{address.path}")
    click.echo(f"Replicate's API   {running.provider_url}")
    click.echo(f"imagegen          supervise --procs 2, its log: {running.log_file}\n")
    width = terminal_width()
    if width is None:
        tell_refusals(running.run())
    else:
        _show_bar(running.run(), width)
        click.echo("\n")
    return running.results()


def _show_bar(steps: "Iterable[Progress]", width: int) -> None:
    """In one line, a column short of the edge: one that wraps cannot be written over."""
    from imagegen.demo import DEMO_TOKENS  # noqa: PLC0415

    bar_width = width // BAR_PART
    room = width - 1 - len("Tokens  []  ") - bar_width

    def told(step: "Progress | None") -> str:
        return cut(harmless(in_words(step)), room) if step else ""

    with click.progressbar(
        length=len(DEMO_TOKENS), label="Tokens", width=bar_width,
        show_eta=False, show_percent=False, item_show_func=told,
    ) as bar:  # fmt: skip
        for step in steps:
            bar.update(step.ended - bar.pos, step)
            bar.render_progress()


def in_words(step: "Progress") -> str:
    if step.refusal:
        return step.refusal
    return ", ".join(f"{count} {status}" for status, count in sorted(step.statuses.items()))


def tell_refusals(steps: "Iterable[Progress]") -> None:
    """A line for each, where there is no terminal for a bar."""
    told = None
    for step in steps:
        if step.refusal and step.refusal != told:
            click.echo(f"Replicate refuses: {harmless(step.refusal)}")
            told = step.refusal


def _write_contact_sheet(running: "Demo", endings: "list[Result]") -> Path:
    from imagegen.demo import contact_sheet, fetch_image  # noqa: PLC0415

    images = [fetch_image(ending.image_url) if ending.image_url else None for ending in endings]
    page = contact_sheet(zip(endings, images, strict=True))
    return running.write("contact-sheet.html", page)


def endings_table(endings: "list[Result]", width: int | None) -> Iterator[str]:
    from imagegen.demo import remark  # noqa: PLC0415

    roomy = width is None or width >= ROOMY_WIDTH
    columns = [
        Column("token", right=True),
        Column("author"),
        Column("status", colours=COLOURS),
        *([Column("seconds", right=True)] if roomy else []),
        Column("what happened", gives_way=True),
    ]
    rows = [
        [
            str(each.token_id),
            each.token.author,
            each.status,
            *([f"{each.seconds:.1f}"] if roomy else []),
            each.error or remark(each) or each.token.prompt,
        ]
        for each in endings
    ]
    return table(columns, rows, width)
