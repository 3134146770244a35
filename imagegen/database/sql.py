"""SQL by name: statements in `.sql` files next to the code that runs them.

A file has statements, each below a line with its name, and fragments that several of them share:

    -- fragment: fence
    id = %(generation_id)s AND state = 'open'

    -- name: renew
    -- Comments say why.
    UPDATE generations SET lease_until = now() WHERE $fence

`$fence` stands for the fragment. A fragment may contain one that is above it. Other `$name`s are
filled in later by `Tables.fill`. `%(name)s` is a parameter of psycopg.
"""

import re
from importlib.resources import files

HEADER = re.compile(r"^-- (name|fragment): (\w+)\n", re.MULTILINE)
COMMENT = re.compile(r"^\s*--.*\n?", re.MULTILINE)
PLACEHOLDER = re.compile(r"\$(\w+)")


class SqlFileError(Exception):
    """A file of SQL is not well-formed; the message names the statement."""


def load(package: str, file: str) -> dict[str, str]:
    """Return the statements of a file by name. Raises SqlFileError."""
    return parse(files(package).joinpath(file).read_text(encoding="utf-8"))


def parse(text: str) -> dict[str, str]:
    """Return statements by name, with their fragments, without comments. Raises SqlFileError."""
    statements: dict[str, str] = {}
    fragments: dict[str, str] = {}

    def fragment(found: re.Match[str]) -> str:
        return fragments.get(found[1], found[0])

    _, *parts = HEADER.split(text)
    for kind, name, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        if name in statements or name in fragments:
            raise SqlFileError(f"{name} is there twice")
        filled = PLACEHOLDER.sub(fragment, COMMENT.sub("", body).strip().removesuffix(";"))
        (statements if kind == "name" else fragments)[name] = filled
    for name, body in (statements | fragments).items():
        if later := fragments.keys() & set(PLACEHOLDER.findall(body)):
            raise SqlFileError(f"{name} holds a fragment below it: {', '.join(sorted(later))}")
    return statements
