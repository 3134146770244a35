"""Authors and tokens for tests; in production both come from the user's own program."""

import csv
import itertools
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

import psycopg

from imagegen import prompts
from imagegen.checks import quoted
from imagegen.database import AWAY, Connection, Tables

WALLET_CHARACTERS = 42  # the width of authors.wallet_address
# By the type of tokens_s0.token_id, which is the user's in an adopted table.
LARGEST_TOKEN_IDS = {"integer": 2**31 - 1, "bigint": 2**63 - 1}
# Rows in one INSERT: a step of the progress bar, some 20 ms.
STEP = 1000
COLUMNS = {"wallet_address": "wallet", "author": "wallet", "prompt": "prompt", "token_id": "token"}


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


class EnqueueError(Exception):
    """Nothing was inserted; the message says why, and names the line where there is one."""


@dataclass(frozen=True)
class Wish:
    """A token that is wanted."""

    where: str  # to name it in an error
    wallet: str
    prompt: str | None  # None: the author's own
    token_id: int | None = None  # None: the next one

    @property
    def key(self) -> str:
        """The author's."""
        return self.wallet.lower()


@dataclass(frozen=True)
class Made:
    """A token that is there now."""

    token_id: int
    author: str


def wishes(texts: Sequence[str], author: str | None, count: int) -> list[Wish]:
    """`count` tokens for each prompt, by this author or a new one for each; without a prompt, by
    this author as it is. Raises EnqueueError."""
    if author is not None:
        author = _wallet("--author", author)
    found = [
        _wish(f"prompt {number}", author or f"0x{secrets.token_hex(20)}", text)
        for number, text in enumerate(texts, 1)
    ]
    if author and not texts:
        found = [Wish("--author", author, None)]
    return [wish for wish in found for _ in range(count)]


def read_csv(file: TextIO, count: int) -> list[Wish]:
    """`count` tokens for each row of a CSV file with a header. Raises EnqueueError."""
    rows = csv.reader(file, strict=True)
    found = []
    try:
        columns = _columns(next(rows, []))
        for row in rows:
            where = f"line {rows.line_num}"
            if not row:
                continue
            if len(row) != len(columns):
                raise EnqueueError(
                    f"{where}: {len(row)} fields under {len(columns)} columns:"
                    " a prompt with a comma stands in quotes"
                )
            fields = dict(zip(columns, row, strict=True))
            given = fields.get("token", "").strip()
            if given and count > 1:
                raise EnqueueError(f"{where}: a token_id cannot be there {count} times")
            found.append(_wish(where, fields["wallet"], fields["prompt"] or None, given or None))
    except csv.Error as error:
        raise EnqueueError(f"line {rows.line_num}: {error}") from None
    except UnicodeDecodeError:
        raise EnqueueError(f"not UTF-8, somewhere after line {rows.line_num}") from None
    if not found:
        raise EnqueueError("the file has no rows below its header")
    return [wish for wish in found for _ in range(count)]


def _columns(header: Sequence[str]) -> list[str]:
    names = [name.strip().lower() for name in header]
    if unknown := [name for name in names if name not in COLUMNS]:
        raise EnqueueError(f"line 1: the header's {unknown[0]!r} is none of {', '.join(COLUMNS)}")
    columns = [COLUMNS[name] for name in names]
    if not {"wallet", "prompt"} <= set(columns) or len(set(columns)) < len(columns):
        raise EnqueueError("line 1: the header must name wallet_address and prompt, once each")
    return columns


def _wish(where: str, wallet: str, prompt: str | None, token_id: str | None = None) -> Wish:
    """Raises EnqueueError where it can never be granted."""
    wallet = _wallet(where, wallet)
    if prompt is not None:
        prompt = prompt.strip()
        try:
            prompts.clean(prompt, None)
            prompt.encode()
        except (prompts.InvalidPromptError, UnicodeEncodeError) as error:
            raise EnqueueError(f"{where}: {error}") from None
        if "\0" in prompt:
            raise EnqueueError(f"{where}: PostgreSQL cannot keep the prompt's NUL")
    if token_id is None:
        return Wish(where, wallet, prompt)
    largest = LARGEST_TOKEN_IDS["bigint"]
    # By its length first: Python refuses to read a number of thousands of digits.
    is_whole = re.fullmatch("[0-9]+", token_id) and len(token_id) <= len(str(largest))
    if not is_whole or int(token_id) > largest:
        raise _no_token_id(where, largest, token_id)
    return Wish(where, wallet, prompt, int(token_id))


def _wallet(where: str, wallet: str) -> str:
    """Raises EnqueueError where it is none."""
    wallet = wallet.strip()
    if not 0 < len(wallet) <= WALLET_CHARACTERS or not wallet.isprintable() or " " in wallet:
        raise EnqueueError(f"{where}: an author is a word of 1 to {WALLET_CHARACTERS} characters")
    return wallet


def _no_token_id(where: str, largest: int, given: str) -> EnqueueError:
    must = f"a whole number from 0 to {largest}"
    return EnqueueError(f"{where}: token_id must be {must}, not {quoted(given)}")


def enqueue(connection: Connection, tables: Tables, wanted: Sequence[Wish]) -> Iterator[list[Made]]:
    """Insert all of them or none, in one transaction; yields what was made, step by step.

    It is all there after the last step. Raises EnqueueError, or one of database.AWAY.
    """
    try:
        with connection.transaction():
            connection.execute(ONE_AT_A_TIME)
            ids, missing = _authors(connection, wanted)
            insert_authors = _insert(connection, "authors", AUTHOR, AUTHORS_GIVEN)
            token = TOKEN | {"status": tables.labels["detected"]}
            insert_tokens = _insert(connection, "tokens_s0", token, TOKENS_GIVEN)
            token_ids = _token_ids(connection, wanted)
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
    connection: Connection, wanted: Sequence[Wish]
) -> tuple[dict[str, str], dict[str, Wish]]:
    """The ids of the authors that are there, and a wish of each one that is not, by their keys."""
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
            raise EnqueueError(
                f"{wish.where}: the author {wish.wallet} {found}:"
                " leave the prompt out, or take another author"
            )
    for wish in wanted:
        if wish.key not in known and wish.key not in missing:
            raise EnqueueError(f"{wish.where}: there is no author {wish.wallet}, and no prompt")
    return {key: author_id for key, author_id, _ in rows}, missing


def _token_ids(connection: Connection, wanted: Sequence[Wish]) -> list[int]:
    """An id for each token, in their order; those that are not given continue after the highest."""
    kind = connection.execute(ID_TYPE).fetchone()
    largest = LARGEST_TOKEN_IDS.get(kind[0] if kind else "", LARGEST_TOKEN_IDS["integer"])
    given: dict[int, str] = {}
    for wish in wanted:
        if wish.token_id is not None:
            if wish.token_id > largest:
                raise _no_token_id(wish.where, largest, str(wish.token_id))
            if wish.token_id in given:
                there = given[wish.token_id]
                raise EnqueueError(f"{wish.where}: token {wish.token_id} is on {there} already")
            given[wish.token_id] = wish.where
    taken = connection.execute(
        "SELECT token_id FROM tokens_s0 WHERE token_id = ANY(%s) ORDER BY 1 LIMIT 1", [list(given)]
    ).fetchone()
    if taken:
        raise EnqueueError(f"{given[taken[0]]}: there is a token {taken[0]} already")
    row = connection.execute("SELECT coalesce(max(token_id), 0) FROM tokens_s0").fetchone()
    highest = max([0, *given, *(row or ())])
    if highest + len(wanted) - len(given) > largest:
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
