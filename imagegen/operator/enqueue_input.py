"""The tokens to enqueue, from arguments or a CSV file, and the mistakes in them."""

import csv
import io
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imagegen.config import prompts, quoted
from imagegen.errors import ImagegenError
from imagegen.text import plural

WALLET_CHARACTERS = 42  # the width of authors.wallet_address
# More mistakes at once would only fill the screen.
MISTAKES_SHOWN = 10
COLUMNS = {"wallet_address": "wallet", "author": "wallet", "prompt": "prompt", "token_id": "token"}


class EnqueueError(ImagegenError):
    """Nothing was inserted; the message has a line for each mistake."""


class MistakeError(Exception):
    """Something is wrong with one row or argument; the message does not say with which."""


# What is wrong with one row or argument.
MISTAKES = (MistakeError, prompts.InvalidPromptError, csv.Error)


@dataclass(frozen=True)
class MintRequest:
    """A token to insert."""

    source: str  # names its argument or line in an error
    wallet: str
    prompt: str | None  # None: the author's own
    token_id: int | None = None  # None: the next one

    @property
    def key(self) -> str:
        """The author's wallet in lower case: wallets are written in either case."""
        return self.wallet.lower()


def from_arguments(texts: Sequence[str], author: str | None, count: int) -> list[MintRequest]:
    """Return `count` requests for each prompt, by this author or a new one for each.

    Without a prompt, the author must be there already. Raises EnqueueError.
    """
    source = "--author"
    try:
        wallet = None if author is None else _wallet(author)
        requests = [MintRequest(source, wallet, None)] if wallet and not texts else []
        for number, text in enumerate(texts, 1):
            source = f"prompt {number}"
            made_up = f"0x{secrets.token_hex(20)}"
            requests.append(MintRequest(source, wallet or made_up, _prompt(text)))
    except MISTAKES as error:
        raise EnqueueError(f"{source}: {error}") from None
    return [request for request in requests for _ in range(count)]


def from_csv(content: bytes, count: int, largest_token_id: int) -> list[MintRequest]:
    """Return `count` requests for each row of a CSV file with a header. Raises EnqueueError."""
    # Not DictReader, which skips blank lines: the line where a row begins would not be known.
    reader = csv.reader(io.StringIO(_decoded(content), newline=None), strict=True)
    try:
        columns = _columns(next(reader, []))
    except MISTAKES as error:
        raise EnqueueError(f"line 1: {error}") from None
    requests: list[MintRequest] = []
    mistakes: dict[str, str] = {}
    while True:
        source = f"line {reader.line_num + 1}"
        try:
            if row := next(reader):
                requests += [_request(source, columns, row, count, largest_token_id)] * count
        except StopIteration:
            break
        except MISTAKES as error:
            mistakes[source] = str(error)
    raise_mistakes(mistakes)
    if not requests:
        raise EnqueueError("the file has no rows below its header")
    return requests


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = len((error.object[: error.start] + b".").splitlines())
        raise EnqueueError(f"line {line}: not UTF-8", "save the file with that encoding") from None


def _columns(header: Sequence[str]) -> list[str]:
    names = [name.strip().lower() for name in header]
    if unknown := [name for name in names if name not in COLUMNS]:
        raise MistakeError(f"the header's {unknown[0]!r} is none of {', '.join(COLUMNS)}")
    columns = [COLUMNS[name] for name in names]
    if not {"wallet", "prompt"} <= set(columns) or len(set(columns)) < len(columns):
        raise MistakeError("the header must name wallet_address and prompt, once each")
    return columns


def _request(
    source: str, columns: Sequence[str], row: Sequence[str], count: int, largest_token_id: int
) -> MintRequest:
    if len(row) != len(columns):
        fix = "a prompt with a comma stands in quotes"
        if len(row) < len(columns):
            fix = "one that is empty has its comma too"
        raise MistakeError(f"{plural(len(row), 'field')} under {len(columns)} columns: {fix}")
    fields = dict(zip(columns, row, strict=True))
    wallet = _wallet(fields["wallet"])
    prompt = _prompt(fields["prompt"]) if fields["prompt"] else None
    given = fields.get("token", "").strip()
    token_id = _token_id(given, largest_token_id) if given else None
    if token_id is not None and count > 1:
        raise MistakeError(f"a token_id cannot be there {count} times")
    return MintRequest(source, wallet, prompt, token_id)


def _wallet(wallet: str) -> str:
    wallet = wallet.strip()
    if not 0 < len(wallet) <= WALLET_CHARACTERS or not wallet.isprintable() or " " in wallet:
        raise MistakeError(f"an author is a word of 1 to {WALLET_CHARACTERS} characters")
    return wallet


def _prompt(prompt: str) -> str:
    """Return the prompt stripped. Raises one of MISTAKES if it can never be sent or stored."""
    prompt = prompt.strip()
    # An argument's bytes that are not text come as surrogates.
    if any("\ud800" <= character <= "\udfff" for character in prompt):
        raise MistakeError("the prompt holds bytes that are not UTF-8")
    prompts.clean(prompt, None)
    if "\0" in prompt:
        raise MistakeError("PostgreSQL cannot keep the prompt's NUL")
    return prompt


def _token_id(given: str, largest: int) -> int:
    # The largest bigint has 19 digits. Python refuses to read a number of thousands of digits.
    digits = re.fullmatch("0*([0-9]{1,19})", given)
    if not digits or int(digits[1]) > largest:
        must = f"a whole number from 0 to {largest}"
        raise MistakeError(f"token_id must be {must}, not {quoted(given)}")
    return int(digits[1])


def raise_mistakes(mistakes: Mapping[str, str]) -> None:
    """Raise EnqueueError with the first mistakes by their sources, and the count of all.

    An empty text is no mistake.
    """
    lines = [f"{source}: {mistake}" for source, mistake in mistakes.items() if mistake]
    if len(lines) > 1:
        which = f", the first {MISTAKES_SHOWN} of them" if len(lines) > MISTAKES_SHOWN else ""
        lines = [f"{len(lines)} mistakes{which}:", *lines[:MISTAKES_SHOWN]]
    if lines:
        raise EnqueueError("\n".join(lines))
