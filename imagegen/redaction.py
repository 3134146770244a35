"""What to hide of a secret in a text, so that hiding it does not tell it.

Hidden wherever it stands, a password such as `postgres` or `token` is told by what is missing:
`[hidden].claimed`. Such a word is in the text whatever the password is, so it is hidden only where
a secret stands, as in a URL.
"""

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path

HIDDEN = "[hidden]"
# Words and numbers that are shorter stand in other ones by chance.
SHORT_CHARACTERS = 6
# What stands before and after a secret: in a URL, for libpq, in a dict or JSON, in a header.
PLACES = (
    (":", "@"),
    ("password=", ""),
    ("password='", "'"),
    ("'password': '", "'"),
    ('"password": "', '"'),
    ("Bearer ", ""),
)


def forms(secret: str, beside: Iterable[str] = ()) -> list[str]:
    """The texts to hide; `beside` are the words that may be shown where it came from."""
    if _is_in_ordinary_text(secret) or any(secret in word for word in beside):
        return [before + secret + after for before, after in PLACES]
    return [secret]


def _is_in_ordinary_text(secret: str) -> bool:
    is_plain = secret.isalpha() or secret.isdigit()
    return (is_plain and len(secret) < SHORT_CHARACTERS) or secret in _own_text()


@cache
def _own_text() -> str:
    """Every event, field and advice of imagegen: its own source, which is no secret. 450 kB."""
    return "".join(file.read_text(encoding="utf-8") for file in Path(__file__).parent.rglob("*.py"))


class Redactor:
    """Takes secrets out of text, whatever produced it: messages, errors, tracebacks."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # In a traceback or in JSON, quotes and backslashes are escaped.
        given = [word for word in secrets if word]
        escaped = [form[1:-1] for word in given for form in (repr(word), json.dumps(word))]
        # The longest first, so that a URL goes before the password within it.
        self._secrets = sorted({*given, *escaped}, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for word in self._secrets:
            text = text.replace(word, HIDDEN)
        return text
