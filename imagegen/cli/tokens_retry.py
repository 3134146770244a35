"""`imagegen tokens retry`: failed tokens are handed on again, or get new attempts."""

from collections import Counter
from datetime import datetime

import click

from imagegen import database
from imagegen.cli.connection import connected
from imagegen.cli.errors import MisusedError
from imagegen.cli.holds import TOKEN_ID
from imagegen.cli.options import json_option, moment_option, read_settings, settings_options
from imagegen.cli.output import ask, emit
from imagegen.cli.progress import waiting, with_bar
from imagegen.failures import Kind, Reason
from imagegen.operator import retry as retries

APPLICATION_NAME = "imagegen tokens"
ERROR_KIND = click.Choice([each.value for each in (*Kind, *Reason)])


@click.command()
@click.argument("token_ids", metavar="[ID]...", nargs=-1, type=TOKEN_ID)
@moment_option(
    "--failed-since",
    "All that failed within this time, as 24h, or since then, as 2026-11-01 (UTC).",
)
@click.option(
    "--error-kind", type=ERROR_KIND, metavar="KIND",
    help="Of these, those with this kind of error, as transient.",
)  # fmt: skip
@click.option(
    "--lost", is_flag=True, help="Also tokens whose image is lost or no good; pays for another."
)
@click.option("--fallback", is_flag=True, help="With the fallback prompt, not the author's.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option()
@settings_options("database_url", "image_url_base")
def retry(
    *,
    token_ids: tuple[int, ...],
    failed_since: datetime | None,
    error_kind: str | None,
    lost: bool,
    fallback: bool,
    yes: bool,
    as_json: bool,
    **options: str | None,
) -> None:
    """Hand failed tokens on again, or give them new attempts.

    A token whose image exists, which the next stage failed, is handed on again for nothing; by its
    kept copy below IMAGEGEN_IMAGE_URL_BASE, or, if Replicate has deleted the image, as a file:// or
    s3:// URL. Without an image it gets three new attempts, as if it had just been minted. Tokens
    that wait or are at work are left alone; held ones are refused. An `uploading` token gets the
    URL of its copy, if that lasts and it has another one; else it is refused, as is a token whose
    image is lost. With --lost, and its ID, it gets another image, which is paid for.
    Asks before it changes all that --failed-since finds, and before it pays again. --fallback is
    for a prompt refused for its content in words unknown to imagegen; also takes waiting tokens.

    \b
    Example: imagegen tokens retry 42 43
             imagegen tokens retry --failed-since 24h --error-kind transient
    """
    if bool(token_ids) == (failed_since is not None):
        raise MisusedError("name tokens, or all that failed with --failed-since 24h; not both")
    if token_ids and error_kind is not None:
        raise MisusedError("--error-kind goes with --failed-since")
    if lost and not token_ids:
        raise MisusedError("--lost goes with the IDs of tokens")
    how = {"lost": lost, "fallback": fallback}
    url, base = read_settings(options, "database_url", "image_url_base").values()
    with connected(url, APPLICATION_NAME) as connection:
        with waiting():
            tables = database.read_tables(connection)
            if failed_since is None:
                plan = retries.plan_named(connection, tables, token_ids, base=base, **how)
            else:
                plan = retries.plan_failed(connection, tables, failed_since, error_kind, base=base)
        for line in plan.warnings:
            click.echo(f"imagegen: {line}", err=True)
        planned = len(plan.handed_on) + len(plan.chosen)
        if not yes and (plan.billed or (planned and not token_ids)):
            ask(" and ".join(_changes(len(plan.handed_on), len(plan.chosen), fallback)))
        done: Counter[retries.Change] = Counter()
        steps = retries.retry(connection, tables, plan, fallback=fallback)
        for change, count in with_bar(steps, planned, lambda step: step[1]):
            done[change] += count
    value = {
        "handed_on": done["hand_on"],
        "retried": done["retry"],
        "changed_meanwhile": (others := planned - done.total()),
        "left_alone": plan.skipped,
        "refused": plan.refused,
    }
    emit(value, _changes(done["hand_on"], done["retry"], fallback), as_json=as_json)
    if others:
        click.echo(f"imagegen: {others} changed meanwhile, and left alone", err=True)
    raise SystemExit(1 if plan.refused else 0)


def _changes(handed_on: int, retried: int, fallback: bool) -> list[str]:
    """Return a line for those handed on, if there are any, and one for those with new attempts."""
    lines = []
    if handed_on:
        lines.append(f"{handed_on} token{' is' if handed_on == 1 else 's are'} handed on again")
    if retried or not handed_on:
        what = "new attempts with the fallback prompt" if fallback else "new attempts"
        lines.append(f"{'1 token gets' if retried == 1 else f'{retried} tokens get'} {what}")
    return lines
