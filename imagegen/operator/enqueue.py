"""Authors and tokens for tests; in production both come from the user's own program."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psycopg

from imagegen.database import AWAY, Connection, Tables
from imagegen.operator.enqueue_input import EnqueueError, Wish, raise_any

# By the type of tokens_s0.token_id, which is the user's in an adopted table.
LARGEST_TOKEN_IDS = {"integer": 2**31 - 1, "bigint": 2**63 - 1}
# Rows in one INSERT: a step of the progress bar, some 20 ms.
STEP = 1000

# Two at once would continue after the same highest token.
ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtextextended('imagegen enqueue', 0))"
KEY = "lower(wallet_address)"  # wallets are written in either case
COLUMNS_OF = """
    SELECT attname, format_type(atttypid, NULL),
        attnotnull AND NOT atthasdef AND attidentity = '' AS must
    FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped"""
ID_TYPE = """
    SELECT format_type(atttypid, NULL) FROM pg_attribute
    WHERE attrelid = to_regclass('tokens_s0') AND attname = 'token_id'"""

# By column, in SQL: what each row is given, and what fills others that must have a value.
AUTHOR = {"wallet_address": "given.wallet", "prompt_text": "given.prompt"}
AUTHORS_GIVEN = "FROM unnest(%s::text[], %s::text[]) AS given (wallet, prompt)"
TOKEN = {"token_id": "given.token_id", "author_id": "given.author_id"}
TOKENS_GIVEN = "FROM unnest(%s::bigint[], %s::text[]) AS given (token_id, author_id)"
FILLED = {"id": "gen_random_uuid()", "created_at": "now()", "generation_attempts": "0"}


@dataclass(frozen=True)
class Made:
    """A token that is there now."""

    token_id: int
    author: str


def largest_token_id(connection: Connection) -> int:
    """What the column in tokens_s0 can hold."""
    kind = connection.execute(ID_TYPE).fetchone()
    return LARGEST_TOKEN_IDS.get(kind[0] if kind else "", LARGEST_TOKEN_IDS["integer"])


def enqueue(connection: Connection, tables: Tables, wanted: Sequence[Wish]) -> Iterator[list[Made]]:
    """Insert all of them or none, in one transaction; yields what was made, step by step.

    It is all there after the last step. Raises EnqueueError, or one of database.AWAY.
    """
    try:
        with connection.transaction():
            connection.execute(ONE_AT_A_TIME)
            mistakes: dict[str, str] = {}
            ids, missing = _authors(connection, wanted, mistakes)
            token_ids = _token_ids(connection, wanted, mistakes)
            places = dict.fromkeys(wish.where for wish in wanted)
            raise_any({where: mistakes[where] for where in places if where in mistakes})
            insert_authors = _insert(connection, "authors", AUTHOR, AUTHORS_GIVEN)
            token = TOKEN | {"status": tables.labels["detected"]}
            insert_tokens = _insert(connection, "tokens_s0", token, TOKENS_GIVEN)
            for start in range(0, len(wanted), STEP):
                step = wanted[start : start + STEP]
                new = [missing.pop(wish.key) for wish in step if wish.key in missing]
                values = [[wish.wallet for wish in new], [wish.prompt for wish in new]]
                found = connection.execute(f"{insert_authors} RETURNING {KEY}, id::text", values)
                ids |= dict(found.fetchall())
                step_ids = token_ids[start : start + STEP]
                connection.execute(insert_tokens, [step_ids, [ids[wish.key] for wish in step]])
                yield [Made(id_, wish.wallet) for id_, wish in zip(step_ids, step, strict=True)]
    except psycopg.DatabaseError as error:
        if isinstance(error, AWAY):
            raise
        said = (error.diag.message_primary or str(error), error.diag.message_detail)
        raise EnqueueError(": ".join(part for part in said if part)) from None


def _authors(
    connection: Connection, wanted: Sequence[Wish], mistakes: dict[str, str]
) -> tuple[dict[str, str], dict[str, Wish]]:
    """The ids of the authors that are there, and a wish of each one that is not, by their keys;
    adds what is wrong to `mistakes`, by its place."""
    rows = connection.execute(
        f"SELECT {KEY}, id::text, prompt_text FROM authors WHERE {KEY} = ANY(%s)",
        [[wish.key for wish in wanted]],
    ).fetchall()
    known = {key: (prompt or "").strip() for key, _, prompt in rows}
    missing: dict[str, Wish] = {}
    for wish in wanted:
        if wish.prompt is None:
            continue
        if wish.key in known:
            prompt, found = known[wish.key], "is there already, with another prompt or none"
        else:
            first = missing.setdefault(wish.key, wish)
            prompt, found = first.prompt, f"has another prompt from {first.where}"
        if wish.prompt != prompt:
            mistakes[wish.where] = (
                f"the author {wish.wallet} {found}: leave the prompt out, or take another author"
            )
    for wish in wanted:
        if wish.key not in known and wish.key not in missing:
            mistakes[wish.where] = f"there is no author {wish.wallet}, and no prompt"
    return {key: author_id for key, author_id, _ in rows}, missing


def _token_ids(
    connection: Connection, wanted: Sequence[Wish], mistakes: dict[str, str]
) -> list[int]:
    """An id for each token, in their order; those that are not given continue after the highest.

    Adds what is wrong to `mistakes`, by its place.
    """
    given: dict[int, str] = {}
    for wish in wanted:
        if wish.token_id in given:
            there = given[wish.token_id]
            mistakes[wish.where] = f"token {wish.token_id} is on {there} already"
        elif wish.token_id is not None:
            given[wish.token_id] = wish.where
    query = "SELECT token_id FROM tokens_s0 WHERE token_id = ANY(%s)"
    for (taken,) in connection.execute(query, [list(given)]):
        mistakes[given[taken]] = f"there is a token {taken} already"
    row = connection.execute("SELECT coalesce(max(token_id), 0) FROM tokens_s0").fetchone()
    highest = max([0, *given, *(row or ())])
    if highest + len(wanted) - len(given) > largest_token_id(connection) and not mistakes:
        raise EnqueueError(f"no token id is left after {highest}: give them in a CSV file")
    following = itertools.count(highest + 1)
    return [next(following) if wish.token_id is None else wish.token_id for wish in wanted]


def _insert(connection: Connection, table: str, given: dict[str, str], rows: str) -> str:
    """An INSERT of what is given for each row, and of what else the table must have.

    Raises EnqueueError where that is something that nobody here knows.
    """
    kinds: dict[str, str] = {}
    values: dict[str, str] = {}
    for name, kind, must in connection.execute(COLUMNS_OF, [table]):
        kinds[name] = kind
        if must and name not in given:
            if name not in FILLED or (name == "id" and kind != "uuid"):
                raise EnqueueError(
                    f"{table}.{name} must have a value, which enqueue does not know: give the"
                    f" column a default (ALTER TABLE {table} ALTER COLUMN {name} SET DEFAULT …)"
                )
            values[name] = FILLED[name]
    # Not every type takes a text by itself; a type without its length cuts nothing off.
    values |= {name: f"{value}::{kinds.get(name, 'text')}" for name, value in given.items()}
    return f"INSERT INTO {table} ({', '.join(values)}) SELECT {', '.join(values.values())} {rows}"
