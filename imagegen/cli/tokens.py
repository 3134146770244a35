"""`imagegen tokens`: what became of the tokens, and new attempts for those that failed."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

import click

from imagegen.cli.options import (
    MisusedError,
    connected,
    failed,
    load_database_url,
    offered,
    settings_options,
    told_in_one_line,
)
from imagegen.cli.output import Column, harmless, table, terminal_width, told_duration
from imagegen.cli.progress import shown, waiting
from imagegen.cli.times import past_moment
from imagegen.failures import Kind, Reason

if TYPE_CHECKING:
    from imagegen.database import Connection, Tables
    from imagegen.operator.tokens import Generation, Token, TokenHistory

TOKEN_ID = click.IntRange(0, 2**63 - 1)  # a bigint, as the column of an adopted table may be
ERROR_KIND = click.Choice([each.value for each in (*Kind, *Reason)])
COLOURS = {"uploading": "green", "failed": "red", "generating": "yellow"}
COLUMNS = [
    Column("token", right=True),
    Column("author"),
    Column("status", colours=COLOURS),
    Column("attempts", right=True),
    Column("age", right=True),
    Column("error", gives_way=True),
]
LABEL_WIDTH = 11
SHORT_WALLET = 11  # 0x1234…abcd


@click.group()
def tokens() -> None:
    """Look at tokens and their stories, or give them new attempts.

    Example: imagegen tokens list --status failed
    """


def _offer_statuses(context: click.Context, option: click.Parameter, typed: str) -> list[str]:
    from imagegen.database import STATUSES  # noqa: PLC0415

    return offered(STATUSES)(context, option, typed)


@tokens.command("list")
@click.option(
    "--status", "statuses", multiple=True, metavar="STATUS", shell_complete=_offer_statuses,
    help="With this status, as failed; may be repeated.",
)  # fmt: skip
@click.option("--author", metavar="WALLET", help="By this author.")
@click.option(
    "--older", callback=past_moment, metavar="DURATION|DATE",
    help="Minted at least so long ago, as 1h, or before then, as 2026-11-01 (UTC).",
)  # fmt: skip
@click.option(
    "--newer", callback=past_moment, metavar="DURATION|DATE",
    help="Minted at most so long ago, as 7d, or since then.",
)  # fmt: skip
@click.option(
    "--error-kind", type=ERROR_KIND, metavar="KIND",
    help="Whose newest generation ended with this, as transient.",
)  # fmt: skip
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most."
)
@click.option("--json", "as_json", is_flag=True, help="As one JSON array.")
@settings_options("database_url")
def list_(
    *,
    statuses: tuple[str, ...],
    author: str | None,
    older: datetime | None,
    newer: datetime | None,
    error_kind: str | None,
    limit: int,
    as_json: bool,
    **options: str | None,
) -> None:
    """List tokens, the newest first.

    Example: imagegen tokens list --status failed --newer 7d
    """
    with _connected(options) as (connection, tables), waiting():
        from imagegen.operator.tokens import UnknownStatusError, list_tokens  # noqa: PLC0415

        try:
            found = list_tokens(
                connection, tables, statuses=[status.lower() for status in statuses],
                author=author, older=older, newer=newer, error_kind=error_kind, limit=limit + 1,
            )  # fmt: skip
        except UnknownStatusError as must:
            raise MisusedError(f"--status must be {must}") from None
        lines = list(_listed(found[:limit], as_json=as_json))
    for line in lines:
        click.echo(line)
    if len(found) > limit:
        click.echo(f"imagegen: only the newest {limit} are shown: see --limit", err=True)


def _listed(found: "Sequence[Token]", *, as_json: bool) -> Iterator[str]:
    if as_json:
        yield json.dumps([asdict(token) for token in found], indent=2)
    elif not found:
        yield "no token is like that"
    else:
        width = terminal_width()
        yield from table(COLUMNS, (_row(token, width) for token in found), width)


def _row(token: "Token", width: int | None) -> list[str]:
    author = token.author or "(gone)"
    if width is not None and len(author) > SHORT_WALLET:
        author = f"{author[:6]}…{author[-4:]}"
    return [
        str(token.token_id), author, token.status, str(token.generation_attempts),
        told_duration(token.age_seconds), token.generation_error or "",
    ]  # fmt: skip


@tokens.command()
@click.argument("token_id", metavar="ID", type=TOKEN_ID)
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@settings_options("database_url")
def show(*, token_id: int, as_json: bool, **options: str | None) -> None:
    """Tell the whole story of a token.

    Every generation, what was sent and what came of it.

    Example: imagegen tokens show 42
    """
    with _connected(options) as (connection, tables), waiting():
        from imagegen.operator.tokens import read_history  # noqa: PLC0415

        history = read_history(connection, tables, token_id)
    if not history.token and not history.generations:
        raise failed(f"there is no token {token_id}")
    if as_json:
        shown = asdict(history)
        shown["generations_left_out"] = shown.pop("is_truncated")
        click.echo(json.dumps(shown, indent=2))
    else:
        _tell(token_id, history)


def _tell(token_id: int, history: "TokenHistory") -> None:
    click.secho(f"token {token_id}", bold=True)
    if history.token:
        _tell_token(history.token)
    else:
        click.echo("  is not in tokens_s0 any more")
    if history.is_truncated:
        click.echo(f"\nonly the newest {len(history.generations)} generations follow")
    for generation in history.generations:
        _tell_generation(generation)


def _tell_token(token: "Token") -> None:
    _fact("status", token.status, COLOURS.get(token.status))
    _fact("attempts", token.generation_attempts)
    _fact("error", token.generation_error)
    _fact("not before", _moment(token.generate_after))
    age = "" if token.age_seconds is None else f", {told_duration(token.age_seconds)} ago"
    _fact("minted", f"{_moment(token.created_at) or '-'}{age}")
    _fact("author", token.author)
    _fact("prompt", token.author_prompt)
    _fact("image", token.image_url)


def _tell_generation(generation: "Generation") -> None:
    fallback = ", fallback prompt" if generation.fallback else ""
    kind = f": {generation.error_kind}" if generation.error_kind else ""
    title = f"generation {generation.id}, attempt {generation.attempt}{fallback}"
    click.secho(f"\n{title}, {generation.state}{harmless(kind)}", bold=True)
    _fact("error", generation.error_message)
    _fact("refusals", f"{generation.refusals} in a row" if generation.refusals else None)
    _fact("sent", generation.prompt)
    _fact("model", f"{generation.model}, seed {generation.seed}")
    _fact("prediction", generation.prediction_id)
    _fact("claimed", _moment(generation.opened_at))
    _fact("requested", _moment(generation.requested_at))
    if generation.closed_at:
        _fact(
            "ended", f"{_moment(generation.closed_at)}, after {generation.duration_seconds:.1f} s"
        )
    else:
        _fact("held until", _moment(generation.lease_until))
    if generation.predict_seconds is not None:
        _fact("computed", f"{generation.predict_seconds:.2f} s")
    _fact("image", generation.image_url)
    _fact("kept as", generation.image_path)
    _fact("sha256", generation.image_sha256)
    _fact("worker", generation.worker)


def _fact(label: str, value: object, colour: str | None = None) -> None:
    """A line, where there is something to tell."""
    if value is not None:
        click.echo(f"  {label:<{LABEL_WIDTH}} {click.style(harmless(str(value)), fg=colour)}")


def _moment(time: str | None) -> str | None:
    """2026-11-24 02:03:04 UTC, of an ISO time in UTC."""
    return f"{time[:19].replace('T', ' ')} UTC" if time and time[0].isdigit() else time


@tokens.command()
@click.argument("token_ids", metavar="[ID]...", nargs=-1, type=TOKEN_ID)
@click.option(
    "--failed-since", callback=past_moment, metavar="DURATION|DATE",
    help="All that failed within this time, as 24h, or since then, as 2026-11-01 (UTC).",
)  # fmt: skip
@click.option(
    "--error-kind", type=ERROR_KIND, metavar="KIND",
    help="Of these, those with this kind of error, as transient.",
)  # fmt: skip
@click.option("--lost", is_flag=True, help="Also tokens whose image is there; pays for another.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@settings_options("database_url")
def retry(
    *,
    token_ids: tuple[int, ...],
    failed_since: datetime | None,
    error_kind: str | None,
    lost: bool,
    yes: bool,
    as_json: bool,
    **options: str | None,
) -> None:
    """Give failed tokens three new attempts.

    It is as if they had just been minted. Tokens that wait or are at work are left alone. One with
    status `uploading` has an image that was paid for, and is refused; with --lost, and its ID, it
    gets another image that will be paid for. Asks before it changes all that --failed-since finds,
    and before it pays again.

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
    with _connected(options) as (connection, tables):
        from imagegen.operator import retry as retries  # noqa: PLC0415

        with waiting():
            if failed_since is None:
                plan = retries.plan_named(connection, token_ids, lost=lost)
            else:
                plan = retries.plan_failed(connection, tables, failed_since, error_kind)
        for line in plan.warnings:
            click.echo(f"imagegen: {line}", err=True)
        if plan.chosen and not yes and (plan.billed or not token_ids):
            _ask(f"{_get(len(plan.chosen))} new attempts")
        steps = retries.retry(connection, tables, plan.chosen)
        changed = sum(shown(steps, len(plan.chosen), int))
    others = len(plan.chosen) - changed
    if as_json:
        told = {"left_alone": plan.skipped, "refused": plan.refused}
        click.echo(json.dumps({"retried": changed, "changed_meanwhile": others, **told}, indent=2))
    else:
        click.echo(f"{_get(changed)} new attempts")
    if others:
        click.echo(f"imagegen: {others} changed meanwhile, and left alone", err=True)
    if plan.refused:
        raise SystemExit(1)


def _ask(what: str) -> None:
    """Ends the command where the answer is no, or where nobody is there to give one."""
    if not sys.stdin.isatty():
        raise failed(f"{what} only with --yes, as nobody can be asked here: nothing was changed")
    with redirect_stdout(sys.stderr):  # the output may go into a file
        click.confirm(f"{what}. Go on?", abort=True)


def _get(count: int) -> str:
    return "1 token gets" if count == 1 else f"{count} tokens get"


@contextmanager
def _connected(options: dict[str, str | None]) -> "Iterator[tuple[Connection, Tables]]":
    """The database and its tables, as imagegen needs them; what is wrong is told in one line."""
    url = load_database_url(options)
    with told_in_one_line(url), connected(url, "imagegen tokens") as found:
        yield found
