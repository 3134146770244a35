"""SQL by name: statements in `.sql` files next to the code that runs them.

A file has statements, each below a line with its name, and fragments that several of them share:

    -- fragment: fence
    id = %(generation_id)s AND state = 'open'

    -- name: renew
    -- Comments say why.
    UPDATE generations SET lease_until = now() WHERE $fence

`$fence` stands for the fragment. A fragment cannot contain another one. Other `$name`s are filled
in later by `Tables.fill`. `%(name)s` is a parameter of psycopg.
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

    def fragment(found: re.Match[str]) -> str:
        return fragments.get(found[1], found[0])

    return {name: PLACEHOLDER.sub(fragment, body) for name, body in statements.items()}
