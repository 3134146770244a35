"""`imagegen tokens hold` and `release`: single tokens that are not to be claimed."""

from dataclasses import asdict

import click

from imagegen import database
from imagegen.cli.acts import reason_option
from imagegen.cli.connection import connected, read_database_url
from imagegen.cli.options import json_option, settings_options
from imagegen.cli.output import emit
from imagegen.cli.progress import waiting
from imagegen.operator import holds
from imagegen.text import plural

TOKEN_ID = click.IntRange(0, 2**63 - 1)  # a bigint, which the column of an adopted table may be
token_ids_argument = click.argument(
    "token_ids", metavar="ID...", nargs=-1, required=True, type=TOKEN_ID
)


@click.command()
@token_ids_argument
@reason_option()
@json_option()
@settings_options("database_url")
def hold(
    *, token_ids: tuple[int, ...], reason: str | None, as_json: bool, **options: str | None
) -> None:
    """Keep tokens that wait from being claimed, until they are released.

    A hold costs nothing and has no end. A token that is being generated is refused, with exit code
    1: its image is on its way. So is one that has its image, or has failed.

    Example: imagegen tokens hold 42 43 --reason "the prompts are being moderated"
    """
    _run("hold", "held", token_ids, reason, as_json=as_json, options=options)


@click.command()
@token_ids_argument
@reason_option()
@json_option()
@settings_options("database_url")
def release(
    *, token_ids: tuple[int, ...], reason: str | None, as_json: bool, **options: str | None
) -> None:
    """Let tokens go on that are held.

    Example: imagegen tokens release 42 43
    """
    _run("release", "released", token_ids, reason, as_json=as_json, options=options)


def _run(
    verb: holds.Verb,
    done: str,
    token_ids: tuple[int, ...],
    reason: str | None,
    *,
    as_json: bool,
    options: dict[str, str | None],
) -> None:
    with connected(read_database_url(options), "imagegen tokens") as connection, waiting():
        tables = database.read_tables(connection)
        result = holds.change(connection, tables, verb, token_ids, reason)
    for line in result.skipped + result.refused:
        click.echo(f"imagegen: {line}", err=True)
    shown = asdict(result)
    shown[done] = shown.pop("changed")
    emit(shown, [f"{plural(len(result.changed), 'token')} {done}"], as_json=as_json)
    if result.refused:
        raise SystemExit(1)
