"""Authors and tokens for tests; in production both come from the user's own program."""

import codecs
import csv
import io
import itertools
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from imagegen import prompts
from imagegen.checks import quoted
from imagegen.database import AWAY, Connection, Tables

if TYPE_CHECKING:
    from _csv import Reader

WALLET_CHARACTERS = 42  # the width of authors.wallet_address
# By the type of tokens_s0.token_id, which is the user's in an adopted table.
LARGEST_TOKEN_IDS = {"integer": 2**31 - 1, "bigint": 2**63 - 1}
# Rows in one INSERT: a step of the progress bar, some 20 ms.
STEP = 1000
# Mistakes that are told at once: more fill the screen and say nothing new.
TOLD = 10
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
    """Nothing was inserted; the message says why, with a line for each place that is wrong."""


class MistakeError(Exception):
    """What is wrong with one row or prompt, without its place."""


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
    where = "--author"
    try:
        wallet = None if author is None else _wallet(author)
        found = [Wish(where, wallet, None)] if wallet and not texts else []
        for number, text in enumerate(texts, 1):
            where = f"prompt {number}"
            found.append(Wish(where, wallet or f"0x{secrets.token_hex(20)}", _prompt(text)))
    except MistakeError as error:
        raise EnqueueError(f"{where}: {error}") from None
    return [wish for wish in found for _ in range(count)]


def read_csv(content: bytes, count: int, largest_token_id: int) -> list[Wish]:
    """`count` tokens for each row of a CSV file with a header. Raises EnqueueError."""
    reader = csv.reader(_lines(_decoded(content)), strict=True)
    try:
        columns = _columns(next(reader, []))
    except csv.Error as error:
        raise EnqueueError(f"line 1: {error}") from None
    found: list[Wish] = []
    mistakes: dict[str, str] = {}
    for where, row in _rows(reader, mistakes):
        try:
            wish = _wish(where, _fields(columns, row), largest_token_id)
            if wish.token_id is not None and count > 1:
                raise MistakeError(f"a token_id cannot be there {count} times")
        except MistakeError as error:
            mistakes[where] = str(error)
        else:
            found.append(wish)
    _raise_any(mistakes)
    if not found:
        raise EnqueueError("the file has no rows below its header")
    return [wish for wish in found for _ in range(count)]


def _decoded(content: bytes) -> str:
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = len(list(_lines(f"{content[: error.start].decode()}.")))
        raise EnqueueError(f"line {line}: not UTF-8: save the file with that encoding") from None


def _lines(text: str) -> Iterator[str]:
    """Lines may end as on any system."""
    return io.StringIO(text, newline=None)


def _columns(header: Sequence[str]) -> list[str]:
    names = [name.strip().lower() for name in header]
    if unknown := [name for name in names if name not in COLUMNS]:
        raise EnqueueError(f"line 1: the header's {unknown[0]!r} is none of {', '.join(COLUMNS)}")
    columns = [COLUMNS[name] for name in names]
    if not {"wallet", "prompt"} <= set(columns) or len(set(columns)) < len(columns):
        raise EnqueueError("line 1: the header must name wallet_address and prompt, once each")
    return columns


def _rows(reader: "Reader", mistakes: dict[str, str]) -> Iterator[tuple[str, list[str]]]:
    """The rows, each with the line where it begins; one that cannot be read is a mistake."""
    while True:
        where = f"line {reader.line_num + 1}"
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            mistakes[where] = str(error)
            continue
        if row:
            yield where, row


def _fields(columns: Sequence[str], row: Sequence[str]) -> dict[str, str]:
    """Raises MistakeError where there are too many or too few."""
    if len(row) > len(columns):
        raise MistakeError(
            f"{len(row)} fields under {len(columns)} columns:"
            " a prompt with a comma stands in quotes"
        )
    if len(row) < len(columns):
        fields = "field" if len(row) == 1 else "fields"
        raise MistakeError(
            f"{len(row)} {fields} under {len(columns)} columns: one that is empty has its comma too"
        )
    return dict(zip(columns, row, strict=True))


def _wish(where: str, fields: Mapping[str, str], largest_token_id: int) -> Wish:
    """Raises MistakeError where it can never be granted."""
    wallet = _wallet(fields["wallet"])
    prompt = _prompt(fields["prompt"]) if fields["prompt"] else None
    given = fields.get("token", "").strip()
    return Wish(where, wallet, prompt, _token_id(given, largest_token_id) if given else None)


def _wallet(wallet: str) -> str:
    """Raises MistakeError where it is none."""
    wallet = wallet.strip()
    if not 0 < len(wallet) <= WALLET_CHARACTERS or not wallet.isprintable() or " " in wallet:
        raise MistakeError(f"an author is a word of 1 to {WALLET_CHARACTERS} characters")
    return wallet


def _prompt(prompt: str) -> str:
    """Raises MistakeError where it can never be sent, or not be kept."""
    prompt = prompt.strip()
    # An argument's bytes that are no text come as surrogates.
    if any("\ud800" <= character <= "\udfff" for character in prompt):
        raise MistakeError("the prompt holds bytes that are not UTF-8")
    try:
        prompts.clean(prompt, None)
    except prompts.InvalidPromptError as error:
        raise MistakeError(str(error)) from None
    if "\0" in prompt:
        raise MistakeError("PostgreSQL cannot keep the prompt's NUL")
    return prompt


def _token_id(given: str, largest: int) -> int:
    """Raises MistakeError where the column cannot hold it."""
    # By its length first: Python refuses to read a number of thousands of digits.
    digits = given.lstrip("0") or "0"
    is_whole = re.fullmatch("[0-9]+", given) and len(digits) <= len(str(largest))
    if not is_whole or int(digits) > largest:
        must = f"a whole number from 0 to {largest}"
        raise MistakeError(f"token_id must be {must}, not {quoted(given)}")
    return int(digits)


def _raise_any(mistakes: Mapping[str, str]) -> None:
    """Raises EnqueueError with the first of these, each with its place, and the count of all."""
    if not mistakes:
        return
    told = [f"{where}: {what}" for where, what in itertools.islice(mistakes.items(), TOLD)]
    if len(mistakes) > 1:
        which = f", the first {TOLD} of them" if len(mistakes) > TOLD else ""
        told.insert(0, f"{len(mistakes)} mistakes{which}:")
    raise EnqueueError("\n".join(told))


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
            _raise_any({where: mistakes[where] for where in places if where in mistakes})
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
