"""`imagegen tokens`: list tokens, show the history of one, retry those that failed."""

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
    settings_options,
)
from imagegen.cli.output import Column, duration, emit, table, terminal_width
from imagegen.cli.progress import waiting
from imagegen.cli.tokens_retry import ERROR_KIND, retry
from imagegen.operator import token_facts
from imagegen.operator import tokens as queries
from imagegen.text import printable

APPLICATION_NAME = "imagegen tokens"
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
    """List tokens, show their history, retry, hold or release them.

    Example: imagegen tokens list --status failed
    """


tokens.add_command(hold)
tokens.add_command(release)
tokens.add_command(retry)


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
        yield "no matching tokens"
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
    """Show the history of a token.

    Each generation: what was sent, and how it ended. Then what operators did.

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
    age = None if token.age_seconds is None else duration(token.age_seconds)
    yield from _fact_lines(token_facts.of_token(token, age), COLOURS.get(token.status or ""))


def _generation_lines(generation: queries.Generation) -> Iterator[str]:
    yield click.style(f"\n{printable(token_facts.title(generation))}", bold=True)
    yield from _fact_lines(token_facts.of_generation(generation))


def _fact_lines(facts: Mapping[str, object], status_colour: str | None = None) -> Iterator[str]:
    """Yield a line for each fact that is known."""
    for label, value in facts.items():
        if value is not None:
            text = printable(str(value))
            if label == "status" and status_colour:
                text = click.style(text, fg=status_colour)
            yield f"  {label:<{LABEL_WIDTH}} {text}"
