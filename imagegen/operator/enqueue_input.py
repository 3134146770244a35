"""Tokens that are wanted for tests, from arguments or a CSV file, and what is wrong with them."""

import codecs
import csv
import io
import itertools
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagegen import prompts
from imagegen.config import quoted

if TYPE_CHECKING:
    from _csv import Reader

WALLET_CHARACTERS = 42  # the width of authors.wallet_address
# Mistakes that are told at once: more fill the screen and say nothing new.
TOLD = 10
COLUMNS = {"wallet_address": "wallet", "author": "wallet", "prompt": "prompt", "token_id": "token"}


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
    raise_any(mistakes)
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


def raise_any(mistakes: Mapping[str, str]) -> None:
    """Raises EnqueueError with the first of these, each with its place, and the count of all."""
    if not mistakes:
        return
    told = [f"{where}: {what}" for where, what in itertools.islice(mistakes.items(), TOLD)]
    if len(mistakes) > 1:
        which = f", the first {TOLD} of them" if len(mistakes) > TOLD else ""
        told.insert(0, f"{len(mistakes)} mistakes{which}:")
    raise EnqueueError("\n".join(told))
