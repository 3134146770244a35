"""`imagegen enqueue`: authors and tokens for tests."""

import json
from itertools import groupby
from typing import BinaryIO

import click

from imagegen.cli.options import (
    MisusedError,
    connected,
    failed,
    load_database_url,
    settings_options,
    told_in_one_line,
)
from imagegen.cli.progress import shown


@click.command()
@click.argument("prompts", metavar="[PROMPT]...", nargs=-1)
@click.option("--author", metavar="WALLET", help="The author of all; else each prompt has its own.")
@click.option(
    "--csv", "csv_file", type=click.File("rb"), metavar="FILE",
    help="With a header: wallet_address (or author), prompt, and token_id if you like. - is stdin.",
)  # fmt: skip
@click.option(
    "--count", type=click.IntRange(1, 1_000_000), default=1, show_default=True,
    help="So many tokens for each prompt or row.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@settings_options("database_url")
def enqueue(
    *,
    prompts: tuple[str, ...],
    author: str | None,
    csv_file: BinaryIO | None,
    count: int,
    as_json: bool,
    **options: str | None,
) -> None:
    """Mint tokens for tests. Real mints come from your own program.

    An author has one prompt: without --author each PROMPT gets a new author with a made-up wallet.
    Authors that are there already are used as they are: leave the prompt out, or repeat it. Token
    ids continue after the highest. All is inserted, or nothing.

    \b
    Example: imagegen enqueue "A lighthouse made of glass" --count 3
             imagegen enqueue --csv mints.csv
    """
    if bool(prompts or author is not None) == (csv_file is not None):
        raise MisusedError("name a PROMPT, an --author or both, or a --csv file")
    url = load_database_url(options)
    with told_in_one_line(url):
        from imagegen.operator import enqueue, enqueue_input  # noqa: PLC0415

        try:
            content = csv_file.read() if csv_file else None
            wanted = enqueue_input.from_arguments(prompts, author, count)
            with connected(url, "imagegen enqueue") as (connection, tables):
                if content is not None:
                    largest = enqueue.largest_token_id(connection)
                    wanted = enqueue_input.from_csv(content, count, largest)
                steps = enqueue.enqueue(connection, tables, wanted)
                made = [each for step in shown(steps, len(wanted), len) for each in step]
        except enqueue_input.EnqueueError as error:
            lines = str(error).replace("\n", "\nimagegen: ")
            raise failed(f"nothing was inserted: {lines}") from None
    if as_json:
        click.echo(json.dumps({"tokens": [vars(each) for each in made]}, indent=2))
    else:
        tokens = "token" if len(made) == 1 else "tokens"
        click.echo(f"made {len(made)} {tokens}: {_spans([each.token_id for each in made])}")


def _spans(token_ids: list[int]) -> str:
    """4-6, 9"""
    spans = []
    for _, group in groupby(enumerate(token_ids), key=lambda each: each[1] - each[0]):
        span = [token_id for _, token_id in group]
        spans.append(f"{span[0]}-{span[-1]}" if len(span) > 1 else f"{span[0]}")
    return ", ".join(spans)
