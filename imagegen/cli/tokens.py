"""`imagegen tokens`: list tokens, show the history of one, retry those that failed."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime

import click

from imagegen import database
from imagegen.cli.acts import act_lines
from imagegen.cli.connection import connected, read_database_url
from imagegen.cli.errors import CommandError, MisusedError
from imagegen.cli.holds import TOKEN_ID, hold, release
from imagegen.cli.options import (
    complete_choices,
    json_option,
    moment_option,
    read_settings,
    settings_options,
)
from imagegen.cli.output import Column, ask, duration, emit, table, terminal_width
from imagegen.cli.progress import waiting, with_bar
from imagegen.failures import Kind, Reason
from imagegen.operator import retry as retries
from imagegen.operator import tokens as queries
from imagegen.text import printable

APPLICATION_NAME = "imagegen tokens"
ERROR_KIND = click.Choice([each.value for each in (*Kind, *Reason)])
COLOURS = {"uploading": "green", "failed": "red", "generating": "yellow"}
COLUMNS = [
    Column("token", right=True),
    Column("author"),
    Column("status", colours=COLOURS),
    Column("attempts", right=True),
    Column("age", right=True),
    Column("error", shrinks=True),
]
LABEL_WIDTH = 11
SHORT_WALLET = 11  # 0x1234…abcd


@click.group()
def tokens() -> None:
    """Look at tokens and their stories, or give them new attempts.

    Example: imagegen tokens list --status failed
    """


tokens.add_command(hold)
tokens.add_command(release)


@tokens.command("list")
@click.option(
    "--status", "statuses", multiple=True, metavar="STATUS",
    shell_complete=complete_choices(database.STATUSES),
    help="With this status, as failed; may be repeated.",
)  # fmt: skip
@click.option("--author", metavar="WALLET", help="By this author.")
@moment_option(
    "--older", "Minted at least so long ago, as 1h, or before then, as 2026-11-01 (UTC)."
)
@moment_option("--newer", "Minted at most so long ago, as 7d, or since then.")
@click.option(
    "--error-kind", type=ERROR_KIND, metavar="KIND",
    help="Whose newest generation ended with this, as transient.",
)  # fmt: skip
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most."
)
@json_option("As one JSON array.")
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
    with connected(read_database_url(options), APPLICATION_NAME) as connection, waiting():
        try:
            found = queries.list_tokens(
                connection, database.read_tables(connection),
                statuses=[status.lower() for status in statuses], author=author,
                older=older, newer=newer, error_kind=error_kind, limit=limit + 1,
            )  # fmt: skip
        except queries.UnknownStatusError as error:
            raise MisusedError(f"--status must be {error}") from None
    shown = found[:limit]
    emit([asdict(token) for token in shown], _list_lines(shown), as_json=as_json)
    if len(found) > limit:
        click.echo(f"imagegen: only the newest {limit} are shown: see --limit", err=True)


def _list_lines(found: list[queries.Token]) -> Iterator[str]:
    if not found:
        yield "no token is like that"
        return
    width = terminal_width()
    yield from table(COLUMNS, (_row(token, width) for token in found), width)


def _row(token: queries.Token, width: int | None) -> list[str]:
    author = token.author or "(gone)"
    if width is not None and len(author) > SHORT_WALLET:
        author = f"{author[:6]}…{author[-4:]}"
    return [
        _shown(token.token_id), author, _shown(token.state), _shown(token.generation_attempts),
        duration(token.age_seconds), token.generation_error or "",
    ]  # fmt: skip


def _shown(value: object) -> str:
    return "-" if value is None else str(value)


@tokens.command()
@click.argument("token_id", metavar="ID", type=TOKEN_ID)
@json_option()
@settings_options("database_url")
def show(*, token_id: int, as_json: bool, **options: str | None) -> None:
    """Tell the whole story of a token.

    Every generation, what was sent and what came of it.

    Example: imagegen tokens show 42
    """
    with connected(read_database_url(options), APPLICATION_NAME) as connection, waiting():
        history = queries.read_history(connection, database.read_tables(connection), token_id)
    if not history.token and not history.generations:
        raise CommandError(f"there is no token {token_id}")
    shown = asdict(history)
    shown["generations_left_out"] = shown.pop("is_truncated")
    emit(shown, _history_lines(token_id, history), as_json=as_json)


def _history_lines(token_id: int, history: queries.TokenHistory) -> Iterator[str]:
    yield click.style(f"token {token_id}", bold=True)
    if history.token:
        yield from _token_lines(history.token)
    else:
        yield "  is not in tokens_s0 any more"
    if history.is_truncated:
        yield f"\nonly the newest {len(history.generations)} generations follow"
    for generation in history.generations:
        yield from _generation_lines(generation)
    yield from act_lines(history.acts)


def _token_lines(token: queries.Token) -> Iterator[str]:
    age = "" if token.age_seconds is None else f", {duration(token.age_seconds)} ago"
    facts = {
        "status": token.state,
        "attempts": token.generation_attempts,
        "error": token.generation_error,
        "not before": _moment(token.generate_after),
        "minted": f"{_moment(token.created_at) or '-'}{age}",
        "author": token.author,
        "prompt": token.author_prompt,
        "image": token.image_url,
    }
    yield from _fact_lines(facts, COLOURS.get(token.status or ""))


def _generation_lines(generation: queries.Generation) -> Iterator[str]:
    fallback = ", fallback prompt" if generation.fallback else ""
    kind = f": {generation.error_kind}" if generation.error_kind else ""
    title = f"generation {generation.id}, attempt {generation.attempt}{fallback}"
    yield click.style(f"\n{title}, {generation.state}{printable(kind)}", bold=True)
    closed_at, predict_seconds = _moment(generation.closed_at), generation.predict_seconds
    until = "tried again" if generation.refusal else "held until"
    facts = {
        "error": generation.error_message,
        "refusals": f"{generation.refusals} in a row" if generation.refusals else None,
        "sent": generation.prompt,
        "model": f"{generation.model}, seed {generation.seed}",
        "prediction": generation.prediction_id,
        "claimed": _moment(generation.opened_at),
        "requested": _moment(generation.requested_at),
        "ended": closed_at and f"{closed_at}, after {generation.duration_seconds:.1f} s",
        "refused": generation.refusal,
        until: None if closed_at else _moment(generation.lease_until),
        "computed": None if predict_seconds is None else f"{predict_seconds:.2f} s",
        "cost": generation.cost and f"{generation.cost} USD",
        "image": generation.image_url,
        "kept as": generation.image_path,
        "sha256": generation.image_sha256,
        "handed on": generation.handed_on_url,
        "worker": generation.worker,
    }
    yield from _fact_lines(facts)


def _fact_lines(facts: Mapping[str, object], status_colour: str | None = None) -> Iterator[str]:
    """Yield a line for each fact that is known."""
    for label, value in facts.items():
        if value is not None:
            text = printable(str(value))
            if label == "status" and status_colour:
                text = click.style(text, fg=status_colour)
            yield f"  {label:<{LABEL_WIDTH}} {text}"


def _moment(time: str | None) -> str | None:
    """Return 2026-11-24 02:03:04 UTC for an ISO time in UTC."""
    return f"{time[:19].replace('T', ' ')} UTC" if time and time[0].isdigit() else time


@tokens.command()
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
    that wait or are at work are left alone. If an image that was paid for is lost, or the token is
    `uploading`, it is refused; with --lost, and its ID, it gets another one, which is paid for.
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
