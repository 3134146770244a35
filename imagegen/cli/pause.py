"""`imagegen pause` and `imagegen resume`: stop and restart claims and requests on all hosts."""

from dataclasses import asdict

import click

from imagegen import config
from imagegen.cli.acts import reason_option
from imagegen.cli.connection import connected, read_database_url
from imagegen.cli.errors import MisusedError
from imagegen.cli.options import json_option, settings_options
from imagegen.cli.output import emit
from imagegen.cli.progress import waiting
from imagegen.operator import acts
from imagegen.text import plural, printable

LONGEST_SECONDS = 365 * 86_400


def _duration(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    try:
        parse = config.seconds(least=1, most=LONGEST_SECONDS)
        return None if value is None else parse(value)
    except config.WrongValueError as error:
        raise MisusedError(f"--for must be {error}") from None


@click.command()
@click.option(
    "--for", "for_seconds", metavar="DURATION", callback=_duration,
    help="Resume after this time, such as 2h. Default: not before `imagegen resume`.",
)  # fmt: skip
@reason_option(required=True)
@json_option()
@settings_options("database_url")
def pause(*, for_seconds: float | None, reason: str, as_json: bool, **options: str | None) -> None:
    """Claim and send nothing new, on all hosts.

    Predictions in flight are watched to their end, and their images are handed on. Retries and
    fallback prompts wait. It holds from this moment on, also for workers that start later. A pause
    replaces an earlier one.

    Example: imagegen pause --for 2h --reason "the prompts are being corrected"
    """
    with connected(read_database_url(options), "imagegen pause") as connection, waiting():
        acts.pause(connection, reason, for_seconds)
        state = acts.read_pause(connection)
    _show(state, as_json=as_json)


@click.command()
@reason_option()
@json_option()
@settings_options("database_url")
def resume(*, reason: str | None, as_json: bool, **options: str | None) -> None:
    """End a pause: go on on all hosts.

    Example: imagegen resume
    """
    with connected(read_database_url(options), "imagegen resume") as connection, waiting():
        if acts.read_pause(connection).pause is None:
            click.echo("imagegen: it was not paused", err=True)
        else:
            acts.resume(connection, reason)
        state = acts.read_pause(connection)
    _show(state, as_json=as_json)


def _show(state: acts.PauseState, *, as_json: bool) -> None:
    lines = ["it is not paused: workers claim and send"]
    if state.pause:
        watched = f"{plural(state.in_flight, 'prediction')} in flight, watched to the end"
        lines = [f"paused {printable(str(state.pause))}", watched]
    emit(asdict(state), lines, as_json=as_json)
