"""`imagegen demo`."""

import os
import shutil
import signal
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from imagegen.cli.options import misconfigured
from imagegen.settings import read

if TYPE_CHECKING:
    from imagegen.sandbox.demo import Demo, Ending

COLOURS = {"uploading": "green", "failed": "red"}


@click.command()
@click.option(
    "--folder", type=click.Path(file_okay=False, path_type=Path), default="imagegen-demo",
    show_default=True, help="Where the contact sheet and the log go.",
)  # fmt: skip
@click.option("--live", is_flag=True, help="Use Replicate itself, which costs about $0.06.")
def demo(*, folder: Path, live: bool) -> None:
    """Show the main job: twenty mints, a real database, two workers, and what becomes of each.

    Replicate's API is played by a sandbox on this machine; --live uses the real one with
    REPLICATE_API_TOKEN, where nothing is known to go wrong beforehand. Needs imagegen[demo].

    Example: imagegen demo
    """
    from imagegen.sandbox.demo import Demo, DemoError  # noqa: PLC0415
    from imagegen.sandbox.postgres_programs import EmbeddedPostgresError  # noqa: PLC0415

    # Set, because a shell starts background jobs with Ctrl-C ignored; SIGTERM cleans up as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _interrupt)
    live_environment = _live_environment() if live else None
    try:
        with Demo(folder, live_environment) as running:
            endings = _watch(running)
            sheet = _write_contact_sheet(folder, endings)
    except KeyboardInterrupt:
        raise click.ClickException("interrupted; nothing is left running") from None
    except (DemoError, EmbeddedPostgresError) as error:
        raise click.ClickException(str(error)) from None
    _print_table(endings)
    click.echo(f"\nThe images: {sheet.absolute()}")
    if not live and not all(ending.as_expected for ending in endings):
        raise click.ClickException("not every token ended as it should have")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _live_environment() -> dict[str, str]:
    _, wrong = read(os.environ, {}, ["replicate_api_token", "replicate_base_url"])
    if wrong:
        raise misconfigured(wrong)
    return {name: value for name, value in os.environ.items() if name.startswith("REPLICATE_")}


def _watch(running: "Demo") -> "list[Ending]":
    from imagegen.sandbox.cast import CAST  # noqa: PLC0415

    click.echo(f"PostgreSQL        {running.database_url.rpartition('@')[2]}")
    click.echo(f"Replicate's API   {running.provider_url}")
    click.echo(f"imagegen          supervise --procs 2, its log: {running.log_file}\n")
    statuses: dict[str, int] = {}

    def told(_: int | None) -> str:
        return ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))

    with click.progressbar(length=len(CAST), label="Tokens", item_show_func=told) as bar:
        for statuses in running.run():
            bar.update(statuses.get("uploading", 0) + statuses.get("failed", 0) - bar.pos)
            bar.render_progress()
    click.echo()
    return running.endings()


def _write_contact_sheet(folder: Path, endings: "list[Ending]") -> Path:
    from imagegen.sandbox.contact_sheet import contact_sheet  # noqa: PLC0415
    from imagegen.sandbox.demo import fetch_image  # noqa: PLC0415

    images = [fetch_image(ending.image_url) if ending.image_url else None for ending in endings]
    sheet = folder / "contact-sheet.html"
    sheet.write_text(contact_sheet(zip(endings, images, strict=True)), encoding="utf-8")
    return sheet


def _print_table(endings: "list[Ending]") -> None:
    from imagegen.sandbox.contact_sheet import story  # noqa: PLC0415

    width = shutil.get_terminal_size((100, 24)).columns
    click.secho("token  author    status     attempts  seconds  what happened", bold=True)
    for ending in endings:
        status = click.style(f"{ending.status:<9}", fg=COLOURS.get(ending.status))
        told = ending.error or story(ending) or " ".join(ending.role.prompt.split())
        room = max(width - 50, 20)
        told = told if len(told) <= room else f"{told[: room - 1]}…"
        click.echo(
            f"{ending.token_id:>5}  {ending.role.author:<8}  {status}  {ending.attempts:>8}"
            f"  {ending.seconds:>7.1f}  {told}"
        )
