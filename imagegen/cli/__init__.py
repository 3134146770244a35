"""The `imagegen` command: one module for each group of commands, and no logic in them.

What a command needs is imported when it runs, so that `imagegen --help` is quick.
"""

import os

import click

from imagegen.cli import streams
from imagegen.cli.config import config
from imagegen.cli.db import db
from imagegen.cli.demo import demo
from imagegen.cli.doctor import doctor
from imagegen.cli.enqueue import enqueue
from imagegen.cli.output import is_dumb
from imagegen.cli.run import supervise, worker
from imagegen.cli.spend import spend
from imagegen.cli.status import status
from imagegen.cli.tokens import tokens


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="imagegen")
@click.pass_context
def cli(context: click.Context) -> None:
    """Turn the prompts of newly minted NFTs into images, through Replicate, from PostgreSQL.

    Every token gets its image, and none is paid for twice, whatever is killed.

    Settings come from options or environment variables: see `imagegen config`.

    Example: imagegen supervise --procs 2
    """
    # The wish of https://no-color.org, whatever it is set to; click asks the context.
    if os.environ.get("NO_COLOR") or is_dumb():
        context.color = False
    # Replicate's SDK reads it at its import, and breaks there where it is no number. It is for
    # calls of the SDK that imagegen does not use.
    os.environ.pop("REPLICATE_POLL_INTERVAL", None)


# A list of commands has less room than the first lines of these.
supervise.short_help = "Turn tokens into images, with several workers: the main job."
worker.short_help = "Run one worker in the foreground, without a supervisor."

for command in (supervise, worker, status, tokens, spend, doctor, enqueue, demo, db, config):
    cli.add_command(command)


def main() -> None:
    with streams.usable():
        cli(prog_name="imagegen")
