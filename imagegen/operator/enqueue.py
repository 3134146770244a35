"""Inserts authors and tokens for tests. In production the user's own program does that."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psycopg

from imagegen.database import AWAY, Connection, Tables, sql
from imagegen.operator.enqueue_input import EnqueueError, MintRequest, raise_mistakes

# By the type of tokens_s0.token_id, which is the user's in an adopted table.
LARGEST_TOKEN_IDS = {"integer": 2**31 - 1, "bigint": 2**63 - 1}
# Tokens in one INSERT, which takes about 20 ms: one step of the progress bar.
STEP = 1000
SQL = sql.load("imagegen.operator", "enqueue.sql")

# SQL by column: the given values of each row, and values for other columns that must have one.
AUTHOR = {"wallet_address": "given.wallet", "prompt_text": "given.prompt"}
AUTHORS_GIVEN = "FROM unnest(%s::text[], %s::text[]) AS given (wallet, prompt)"
TOKEN = {"token_id": "given.token_id", "author_id": "given.author_id"}
TOKENS_GIVEN = "FROM unnest(%s::bigint[], %s::text[]) AS given (token_id, author_id)"
FILLED = {"id": "gen_random_uuid()", "created_at": "now()", "generation_attempts": "0"}


@dataclass(frozen=True)
class EnqueuedToken:
    """A token that was inserted."""

    token_id: int
    author: str


def largest_token_id(connection: Connection) -> int:
    """Return the largest number that the column in tokens_s0 can hold."""
    row = connection.execute(SQL["token_id_type"]).fetchone()
    return LARGEST_TOKEN_IDS.get(row[0] if row else "", LARGEST_TOKEN_IDS["integer"])


def enqueue(
    connection: Connection, tables: Tables, requests: Sequence[MintRequest]
) -> Iterator[list[EnqueuedToken]]:
    """Insert all tokens or none, in one transaction; yields them step by step.

    Nothing is committed before the last step. Raises EnqueueError, or one of database.AWAY.
    """
    try:
        with connection.transaction():
            connection.execute(SQL["lock"])
            mistakes = dict.fromkeys((request.source for request in requests), "")  # in order
            author_ids, new = _authors(connection, requests, mistakes)
            token_ids = _token_ids(connection, requests, mistakes)
            raise_mistakes(mistakes)
            insert_authors = _insert(connection, "authors", AUTHOR, AUTHORS_GIVEN)
            insert_authors += " RETURNING lower(wallet_address), id::text"
            token = TOKEN | {"status": tables.labels["detected"]}
            insert_tokens = _insert(connection, "tokens_s0", token, TOKENS_GIVEN)
            for start in range(0, len(requests), STEP):
                step, ids = requests[start : start + STEP], token_ids[start : start + STEP]
                authors = [new.pop(request.key) for request in step if request.key in new]
                values = [[each.wallet for each in authors], [each.prompt for each in authors]]
                author_ids |= dict(connection.execute(insert_authors, values).fetchall())
                of_authors = [author_ids[request.key] for request in step]
                connection.execute(insert_tokens, [ids, of_authors])
                yield list(map(EnqueuedToken, ids, (request.wallet for request in step)))
    except psycopg.DatabaseError as error:
        if isinstance(error, AWAY):
            raise
        message = error.diag.message_primary or str(error)
        raise EnqueueError(message, error.diag.message_detail or "") from None


def _authors(
    connection: Connection, requests: Sequence[MintRequest], mistakes: dict[str, str]
) -> tuple[dict[str, str], dict[str, MintRequest]]:
    """Return the ids of existing authors, and the first request of each new one, both by key.

    Adds what is wrong to `mistakes`, by its source.
    """
    rows = connection.execute(SQL["authors"], [[request.key for request in requests]]).fetchall()
    prompts = {key: (prompt or "").strip() for key, _, prompt in rows}
    new: dict[str, MintRequest] = {}
    for request in requests:
        if request.prompt is not None and request.key not in prompts:
            prompts[request.key], new[request.key] = request.prompt, request
    for request in requests:
        if request.key not in prompts:
            mistakes[request.source] = f"there is no author {request.wallet}, and no prompt"
        elif request.prompt not in (None, prompts[request.key]):
            conflict = "is there already, with another prompt or none"
            if request.key in new:
                conflict = f"has another prompt from {new[request.key].source}"
            fix = "leave the prompt out, or take another author"
            mistakes[request.source] = f"the author {request.wallet} {conflict}: {fix}"
    return {key: author_id for key, author_id, _ in rows}, new


def _token_ids(
    connection: Connection, requests: Sequence[MintRequest], mistakes: dict[str, str]
) -> list[int]:
    """Return an id for each request; requests without one continue after the highest.

    Adds what is wrong to `mistakes`, by its source.
    """
    given: dict[int, str] = {}  # the source of each id
    for request in requests:
        if request.token_id in given:
            first = given[request.token_id]
            mistakes[request.source] = f"token {request.token_id} is on {first} already"
        elif request.token_id is not None:
            given[request.token_id] = request.source
    for (taken,) in connection.execute(SQL["taken_token_ids"], [list(given)]):
        mistakes[given[taken]] = f"there is a token {taken} already"
    row = connection.execute(SQL["highest_token_id"]).fetchone()
    highest = max([0, *given, *(row or ())])
    is_full = highest + len(requests) - len(given) > largest_token_id(connection)
    if is_full and not any(mistakes.values()):
        raise EnqueueError(f"no token id is left after {highest}", "give them in a CSV file")
    following = itertools.count(highest + 1)
    return [
        next(following) if request.token_id is None else request.token_id for request in requests
    ]


def _insert(connection: Connection, table: str, given: dict[str, str], rows: str) -> str:
    """Return an INSERT of the given values, with values for other columns that must have one.

    Raises EnqueueError if a column must have a value that is not known here.
    """
    types: dict[str, str] = {}
    values: dict[str, str] = {}
    for name, type_, must in connection.execute(SQL["columns"], [table]):
        types[name] = type_
        if must and name not in given:
            if name not in FILLED or (name == "id" and type_ != "uuid"):
                raise EnqueueError(
                    f"{table}.{name} must have a value, which enqueue does not know",
                    f"give the column a default (ALTER TABLE {table} ALTER COLUMN {name}"
                    " SET DEFAULT …)",
                )
            values[name] = FILLED[name]
    # Text is not cast to every type by itself. A type without its length truncates nothing.
    values |= {name: f"{value}::{types.get(name, 'text')}" for name, value in given.items()}
    return f"INSERT INTO {table} ({', '.join(values)}) SELECT {', '.join(values.values())} {rows}"
