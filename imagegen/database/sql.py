"""SQL by name: statements in `.sql` files beside the code that runs them.

A file holds statements, each below a line with its name, and fragments that several of them share:

    -- fragment: fence
    id = %(generation_id)s AND state = 'open'

    -- name: renew
    -- Why it is as it is, in comments.
    UPDATE generations SET lease_until = now() WHERE $fence

`$fence` stands for the fragment, at one level: a fragment holds no other one. Other `$name`s are
filled in later by `Tables.fill`: status labels are literals, because a parameter would lose the
partial index. `%(name)s` is a parameter of psycopg.
"""

import re
from importlib.resources import files

HEADER = re.compile(r"^-- (name|fragment): (\w+)\n", re.MULTILINE)
COMMENT = re.compile(r"^\s*--.*\n?", re.MULTILINE)
PLACEHOLDER = re.compile(r"\$(\w+)")


class SqlFileError(Exception):
    """A file of SQL cannot be read; the message names the statement."""


def load(package: str, file: str) -> dict[str, str]:
    """Return the statements of a file by name, their fragments filled in.

    Comments are left out: they are for the reader of the file. Raises SqlFileError.
    """
    text = files(package).joinpath(file).read_text(encoding="utf-8")
    return parse(text)


def parse(text: str) -> dict[str, str]:
    """Return the statements of the text of a file by name. Raises SqlFileError."""
    found: dict[str, dict[str, str]] = {"name": {}, "fragment": {}}
    _, *parts = HEADER.split(text)
    for kind, name, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        if name in found["name"] or name in found["fragment"]:
            raise SqlFileError(f"{name} is there twice")
        found[kind][name] = COMMENT.sub("", body).strip().removesuffix(";")
    statements, fragments = found["name"], found["fragment"]
    for name, body in fragments.items():
        if nested := fragments.keys() & set(PLACEHOLDER.findall(body)):
            raise SqlFileError(f"fragment {name} holds another one: {', '.join(sorted(nested))}")
    return {name: _filled(body, fragments) for name, body in statements.items()}


def _filled(statement: str, fragments: dict[str, str]) -> str:
    return PLACEHOLDER.sub(lambda found: fragments.get(found[1], found[0]), statement)
