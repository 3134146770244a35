"""`imagegen prune`: delete old rows of the ledger, and keep their totals."""

import sys
from pathlib import Path
from typing import Any

import click

from imagegen import database
from imagegen.cli.connection import connected
from imagegen.cli.errors import MisconfiguredError, MisusedError
from imagegen.cli.options import json_option, read_settings, settings_options
from imagegen.cli.output import emit
from imagegen.cli.progress import with_bar
from imagegen.config import S3Location, WrongValueError, age_seconds
from imagegen.operator import prune as pruning
from imagegen.text import plural


@click.command()
@click.option(
    "--older", "older_seconds", metavar="DURATION", required=True,
    callback=lambda _, __, value: _older_seconds(value),
    help="Delete rows that ended longer ago than this, such as 1y or 90d; at least 48h.",
)  # fmt: skip
@click.option(
    "--images", is_flag=True,
    help="Delete the kept copies of their images too, in the folder of --keep-images.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would be deleted, and delete nothing.")
@json_option()
@settings_options("database_url", "keep_images")
def prune(
    *, older_seconds: float, images: bool, dry_run: bool, as_json: bool, **options: str | None
) -> None:
    """Delete old rows of generations, and keep what they cost.

    A token's rows are deleted together when all of them are old, and only if the token was handed
    on or deleted. Tokens that wait, are at work or have failed keep their rows. So do tokens with
    an unresolved request. `imagegen spend` still counts deleted rows, by whole days.

    Workers can keep running, because rows are deleted in small steps with pauses. The command can
    be ended at any time, and run again. `tokens show` and `tokens retry` do not find deleted rows.

    \b
    Example: imagegen prune --older 1y --dry-run
             imagegen prune --older 1y --images
    """
    values = read_settings(options, "database_url", "keep_images")
    folder: Path | S3Location | None = values["keep_images"]
    if images and not isinstance(folder, Path):
        raise MisconfiguredError(
            "--images needs a folder in IMAGEGEN_KEEP_IMAGES: it deletes nothing in S3"
        )
    generations = tokens = copies = 0
    with connected(values["database_url"], "imagegen prune") as connection:
        tables = database.read_tables(connection)
        prunable = pruning.find_prunable(connection, older_seconds)
        steps = pruning.prune(connection, tables, prunable, dry_run=dry_run)
        if sys.stderr.isatty():  # a nightly run must not fill the journal
            steps = with_bar(steps, prunable.ids, lambda step: step.ids, label="Rows")
        for step in steps:
            generations, tokens = generations + step.generations, tokens + step.tokens
            if not images or not isinstance(folder, Path):
                continue
            if dry_run:
                copies += len(step.paths)
                continue
            deleted, failures = pruning.delete_copies(step.paths, folder)
            copies += deleted
            for line in failures:
                click.echo(f"imagegen: {line}", err=True)
    found: dict[str, Any] = {
        "before": prunable.before.isoformat(),
        "dry_run": dry_run,
        "old": prunable.generations,
        "generations": generations,
        "tokens": tokens,
        "images": copies,
    }
    emit(found, [_line(found, with_images=images)], as_json=as_json)


def _line(found: dict[str, Any], *, with_images: bool) -> str:
    rows, tokens = plural(found["generations"], "row"), plural(found["tokens"], "token")
    copies = f", and {plural(found['images'], 'image')}" if with_images else ""
    kept = plural(found["old"] - found["generations"], "old row")
    verb, stay = ("would delete", "would stay") if found["dry_run"] else ("deleted", "stay")
    return f"{verb} {rows} of {tokens}{copies}; {kept} {stay}"


def _older_seconds(value: str) -> float:
    try:
        return age_seconds(value, least=pruning.LEAST_OLDER_SECONDS)
    except WrongValueError as error:
        raise MisusedError(f"--older must be {error}") from None
