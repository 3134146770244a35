"""The `imagegen` command: one module for each command or group, and no logic in them."""

import os
from importlib import import_module

import click

from imagegen.cli import core_dumps, interrupts, streams

# What `imagegen --help` shows. On narrow terminals, click shortens a `help`, not a `short_help`.
SUMMARIES = [
    click.Command("audit", help="Compare Replicate's list of predictions with imagegen's record."),
    click.Command("config", help="Show every setting, its value and where it comes from."),
    click.Command("db", help="Bring the database's schema up or down, or look at it."),
    click.Command("demo", help="Show the main job on twenty mints, and what becomes of each."),
    click.Command("doctor", help="Check all that can be wrong, and print the fix for each."),
    click.Command("enqueue", help="Mint tokens for tests."),
    click.Command("limits", help="Show the limits that hold, or change them on all hosts."),
    click.Command("pause", help="Claim and send nothing new, on all hosts."),
    click.Command("prune", help="Delete old rows of generations, and keep what they cost."),
    click.Command("resume", help="End a pause: go on on all hosts."),
    click.Command("spend", help="Show what Replicate accepted, and the money for it."),
    click.Command("status", help="Show the queue, the last hour, and the workers of this host."),
    click.Command(
        "supervise", short_help="Turn tokens into images, with several workers: the main job."
    ),
    click.Command("tokens", help="List tokens, show their history, retry, hold or release them."),
    click.Command("worker", short_help="Run one worker in the foreground, without a supervisor."),
]
# Every other command is in the module of its name.
MODULES = {"supervise": "run", "worker": "run", "resume": "pause"}


class LazyGroup(click.Group):
    """Imports a command when it runs: the list of commands needs none of them."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command itself in place of its summary."""
        name, summary, rest = super().resolve_command(ctx, args)
        if name is None:
            return name, summary, rest
        module = import_module(f"imagegen.cli.{MODULES.get(name, name)}")
        return name, getattr(module, name), rest


@click.group(
    cls=LazyGroup, commands=SUMMARIES, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="imagegen")
@click.pass_context
def cli(context: click.Context) -> None:
    """Turn the prompts of newly minted NFTs into images, through Replicate, from PostgreSQL.

    Every token gets its image, and none is paid for twice, whatever is killed.

    Settings come from options or environment variables: see `imagegen config`.

    Example: imagegen supervise --procs 2
    """
    # https://no-color.org: set to any value. click reads the colour setting from the context.
    if os.environ.get("NO_COLOR") or streams.is_dumb():
        context.color = False


def main() -> None:
    # Replicate's SDK reads it on import, and fails if it is no number. It is for calls of the SDK
    # that imagegen does not make.
    os.environ.pop("REPLICATE_POLL_INTERVAL", None)
    core_dumps.forbid()
    interrupts.end_at_sigterm_in_a_container()
    with streams.guarded_stdio():
        cli(prog_name="imagegen")
