"""`imagegen demo`."""

from pathlib import Path

import click

from imagegen.cli.interrupts import Interrupts


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
    interrupts = Interrupts()
    # Imported only now: no signal may interrupt the imports, or what they start.
    from imagegen.cli import demo_run  # noqa: PLC0415

    demo_run.run(folder, live=live, interrupts=interrupts)
