"""The query of /tokens, checked before the database is asked."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from urllib.parse import parse_qs, urlencode

from imagegen.failures import Kind

LARGEST_ID = 2**63 - 1  # of a bigint, which the column of an adopted table may have
MOST_CHARACTERS = 100
# Stands for failures without a recorded kind: of tokens that the next stage failed.
UNRECORDED = "unrecorded"
FAILURES = (*(kind.value for kind in Kind), UNRECORDED)
FAILED = "failed"


class SearchError(Exception):
    """A query is not valid. The message is one line for the page."""


@dataclass(frozen=True)
class Search:
    """Which tokens are searched for; None: any."""

    token: int | None = None
    author: str | None = None  # the wallet
    status: str | None = None  # in lower case
    failure: str | None = None  # one of FAILURES
    before: int | None = None  # only tokens that come after this one in the list

    @property
    def is_for_one_token(self) -> bool:
        return self == Search(token=self.token) and self.token is not None

    def path(self, before: int | None = None) -> str:
        """Return the path of a page of results: the first one, or the one after a token."""
        given = {**vars(self), "before": before}
        query = urlencode({name: value for name, value in given.items() if value is not None})
        return f"/tokens?{query}" if query else "/tokens"


NAMES = tuple(field.name for field in fields(Search))


def parse(query: str) -> Search:
    """Return the search that a query asks for. An empty value counts as no value.

    Raises SearchError.
    """
    try:
        given = parse_qs(query, max_num_fields=20)
    except ValueError:
        raise SearchError(f"Too many parameters: there are {', '.join(NAMES)}.") from None
    if unknown := sorted(given.keys() - {*NAMES}):
        raise SearchError(f"{_quoted(unknown[0])} is no parameter: {', '.join(NAMES)} are.")
    values = {name: _text(name, values) for name, values in given.items()}
    search = Search(
        token=_token_id("token", values),
        author=values.get("author"),
        status=(values.get("status") or "").lower() or None,
        failure=values.get("failure"),
        before=_token_id("before", values),
    )
    if search.failure is not None and search.failure not in FAILURES:
        raise SearchError(f"failure must be one of {', '.join(FAILURES)}.")
    if search.failure is not None and search.status not in {None, FAILED}:
        raise SearchError(f"A kind of failure goes with the status {FAILED}, or with none.")
    return search


def _text(name: str, values: list[str]) -> str | None:
    """Return a value without blanks around it; None if nothing is left. Raises SearchError."""
    if len(values) > 1:
        raise SearchError(f"{name} is there {len(values)} times: search for one.")
    text = values[0].strip()
    if len(text) > MOST_CHARACTERS:
        raise SearchError(f"{name} is too long: at most {MOST_CHARACTERS} characters.")
    if not text.isprintable():
        raise SearchError(f"{name} holds a control character, or a NUL: only text is searched for.")
    return text or None


def _token_id(name: str, values: Mapping[str, str | None]) -> int | None:
    digits = values.get(name)
    if digits is None:
        return None
    if (token_id := token_id_of(digits.removeprefix("#"))) is None:
        raise SearchError(f"{name} must be a whole number from 0 to {LARGEST_ID}.")
    return token_id


def token_id_of(digits: str) -> int | None:
    """Return the token id in these digits; None if they are not one."""
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 20):
        return None
    return number if (number := int(digits)) <= LARGEST_ID else None


def _quoted(text: str) -> str:
    return repr(text[:MOST_CHARACTERS])
