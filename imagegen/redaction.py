"""Removes secrets from text, without revealing them by the gaps.

Replacing a common word everywhere would reveal the password: `[hidden].claimed` shows that it is
`token`. A word of imagegen's own texts is replaced only in the contexts in which a password can
occur.
"""

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path

HIDDEN = "[hidden]"
# Letters or digits of less than this length occur in other words and numbers by chance.
SHORT_CHARACTERS = 6
# Files of imagegen that hold texts which can be logged: events, fields, messages, SQL, pages.
TEXT_SUFFIXES = {".py", ".sql", ".mako"}
# The text before and after a secret. Names of variables and parameters end in `password`.
CONTEXTS = (
    (":", "@"),  # a URL
    ("Bearer ", ""),  # a header
    ("val=b'", "'"),  # psycopg's ConninfoOption
    ("password=", ""),  # libpq, a URL's query
    ("password = ", ""),
    ("password: ", ""),
    ("--password ", ""),
    ("PASSWORD=", ""),  # an environment
    # As Python shows arguments, dicts, bytes and pairs; JSON; SQL.
    *(
        (name + between + quote, quote[-1])
        for name in ("password", "PASSWORD")
        for between in ("=", "': ", '": ', '":', "', ", " ")
        for quote in ("'", '"', "b'")
    ),
)


def patterns(
    secret: str, shown_parts: Iterable[str] = (), *, may_be_a_word: bool = True
) -> list[str]:
    """Return the texts to replace: the secret, or if other text may contain it, its contexts.

    `shown_parts`, such as the user and the host in a URL, must stay readable.
    """
    is_short = len(secret) < SHORT_CHARACTERS and (secret.isalpha() or secret.isdigit())
    is_word = may_be_a_word and _is_in_own_text(secret)
    if is_short or is_word or any(secret in part for part in shown_parts):
        return [before + secret + after for before, after in CONTEXTS]
    return [secret]


@cache
def _is_in_own_text(secret: str) -> bool:
    """Return whether a text of imagegen itself contains the secret. It reads 500 kB, once."""
    files = [file for file in Path(__file__).parent.rglob("*") if file.suffix in TEXT_SUFFIXES]
    return any(secret.encode(errors="surrogateescape") in file.read_bytes() for file in files)


class Redactor:
    """Replaces secrets in any text: messages, errors, tracebacks."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # Tracebacks and JSON escape quotes and backslashes.
        given = [secret for secret in secrets if secret]
        escaped = [text[1:-1] for secret in given for text in (repr(secret), json.dumps(secret))]
        # The longest first, so that a URL is replaced before the password in it.
        self._secrets = sorted({*given, *escaped}, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text
