"""What `imagegen demo` shows: a bar, a table of how each token ended, and the images."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import click

from imagegen import demo
from imagegen.cli.errors import CommandError
from imagegen.cli.interrupts import Interrupts
from imagegen.cli.options import read_settings
from imagegen.cli.output import Column, cut, table, terminal_width
from imagegen.errors import CannotStartError
from imagegen.replicate import https_proxy, tls_context
from imagegen.text import printable

COLOURS = {"uploading": "green", "failed": "red"}
BAR_PART = 5  # the bar takes a fifth of the width; the rest is for the text after it
WIDTH_WITH_SECONDS = 60  # columns: a narrower terminal has no room for the seconds


def run(folder: Path, *, live: bool, interrupts: Interrupts) -> None:
    try:
        environment = _live_environment() if live else None
        with demo.Demo(folder, environment) as running, interrupts.delivered():
            results = _watch(running)
            sheet = _write_contact_sheet(running, results)
    except KeyboardInterrupt:
        raise CommandError("interrupted; nothing is left running") from None
    except (demo.DemoError, demo.EmbeddedPostgresError, CannotStartError) as error:
        raise CommandError(error) from None
    for line in results_table(results, terminal_width()):
        click.echo(line)
    click.echo(f"\nThe images: {sheet.absolute()}")
    if not live and not all(result.as_expected for result in results):
        raise CommandError("not every token ended as it should have")


def _live_environment() -> dict[str, str]:
    read_settings({}, *demo.LIVE_SETTINGS)
    tls_context()
    https_proxy()
    return demo.live_settings(os.environ)


def _watch(running: demo.Demo) -> list[demo.Result]:
    address = urlsplit(running.database_url)
    click.echo(f"PostgreSQL        {address.hostname}:{address.port}{address.path}")
    click.echo(f"Replicate's API   {running.provider_url}")
    click.echo(f"imagegen          supervise --procs 2, its log: {running.log_file}\n")
    width = terminal_width()
    if width is None:
        print_refusals(running.run())
    else:
        _show_bar(running.run(), width)
        click.echo("\n")
    return running.results()


def _show_bar(steps: Iterable[demo.Progress], width: int) -> None:
    """Show the steps in one line, a column short of the edge: one that wraps is not replaced."""
    bar_width = width // BAR_PART
    text_columns = width - 1 - len("Tokens  []  ") - bar_width

    def text_after_bar(step: demo.Progress | None) -> str:
        return cut(printable(progress_text(step)), text_columns) if step else ""

    with click.progressbar(
        length=len(demo.DEMO_TOKENS), label="Tokens", width=bar_width,
        show_eta=False, show_percent=False, item_show_func=text_after_bar,
    ) as bar:  # fmt: skip
        for step in steps:
            bar.update(step.ended - bar.pos, step)
            bar.render_progress()


def progress_text(step: demo.Progress) -> str:
    if step.refusal:
        return step.refusal
    return ", ".join(f"{count} {status}" for status, count in sorted(step.statuses.items()))


def print_refusals(steps: Iterable[demo.Progress]) -> None:
    """Print a line for each new refusal, where there is no terminal for a bar."""
    last = None
    for step in steps:
        if step.refusal and step.refusal != last:
            click.echo(f"Replicate refuses: {printable(step.refusal)}")
            last = step.refusal


def _write_contact_sheet(running: demo.Demo, results: list[demo.Result]) -> Path:
    images = [demo.fetch_image(each.image_url) if each.image_url else None for each in results]
    page = demo.contact_sheet(zip(results, images, strict=True))
    return running.write("contact-sheet.html", page)


def results_table(results: list[demo.Result], width: int | None) -> Iterator[str]:
    shows_seconds = width is None or width >= WIDTH_WITH_SECONDS
    columns = [
        Column("token", right=True),
        Column("author"),
        Column("status", colours=COLOURS),
        *([Column("seconds", right=True)] if shows_seconds else []),
        Column("what happened", shrinks=True),
    ]
    rows = [
        [
            str(each.token_id),
            each.token.author,
            each.status,
            *([f"{each.seconds:.1f}"] if shows_seconds else []),
            each.error or demo.remark(each) or each.token.prompt,
        ]
        for each in results
    ]
    return table(columns, rows, width)
