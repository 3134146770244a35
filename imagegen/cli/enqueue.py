"""`imagegen enqueue`: authors and tokens for tests."""

from itertools import groupby
from typing import BinaryIO

import click

from imagegen import database
from imagegen.cli.connection import connected, read_database_url
from imagegen.cli.errors import CommandError, MisusedError
from imagegen.cli.options import json_option, settings_options
from imagegen.cli.output import emit
from imagegen.cli.progress import with_bar
from imagegen.operator import enqueue as minting
from imagegen.operator import enqueue_input


@click.command()
@click.argument("prompts", metavar="[PROMPT]...", nargs=-1)
@click.option("--author", metavar="WALLET", help="The author of all; else each prompt has its own.")
@click.option(
    "--csv", "csv_file", type=click.File("rb"), metavar="FILE",
    help="With a header: wallet_address (or author), prompt, and token_id if you like. - is stdin.",
)  # fmt: skip
@click.option(
    "--count", type=click.IntRange(1, 1_000_000), default=1, show_default=True,
    help="How many tokens for each prompt or row.",
)  # fmt: skip
@json_option()
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
    url = read_database_url(options)
    try:
        content = csv_file.read() if csv_file else None
        wanted = enqueue_input.from_arguments(prompts, author, count)
        with connected(url, "imagegen enqueue") as connection:
            tables = database.read_tables(connection)
            if content is not None:
                largest = minting.largest_token_id(connection)
                wanted = enqueue_input.from_csv(content, count, largest)
            steps = minting.enqueue(connection, tables, wanted)
            made = [each for step in with_bar(steps, len(wanted), len) for each in step]
    except enqueue_input.EnqueueError as error:
        raise CommandError(*f"nothing was inserted: {error}".split("\n")) from None
    tokens = "token" if len(made) == 1 else "tokens"
    line = f"made {len(made)} {tokens}: {_spans([each.token_id for each in made])}"
    emit({"tokens": [vars(each) for each in made]}, [line], as_json=as_json)


def _spans(token_ids: list[int]) -> str:
    """Return the ids with runs shortened: 4-6, 9."""
    spans = []
    for _, group in groupby(enumerate(token_ids), key=lambda each: each[1] - each[0]):
        span = [token_id for _, token_id in group]
        spans.append(f"{span[0]}-{span[-1]}" if len(span) > 1 else f"{span[0]}")
    return ", ".join(spans)
