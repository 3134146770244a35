"""Databases that are not in UTF-8, as an old one, or one that was made where LANG is C.

We speak UTF-8 with PostgreSQL, which converts to and from its own encoding, and refuses what that
lacks. A database in SQL_ASCII knows of no encoding: it serves as long as others write UTF-8 too.
"""

from typing import Any

from psycopg import BaseConnection
from psycopg._encodings import pg2pyenc
from psycopg.abc import AdaptContext, Buffer
from psycopg.types.string import StrDumperUnknown

UTF8, ANY_BYTES = "UTF8", "SQL_ASCII"
MEND = "make another one (createdb --encoding=UTF8 --template=template0), and move there"


def drawback(connection: BaseConnection[Any]) -> str | None:
    """What the database's encoding does to texts; None where it is UTF-8."""
    match _of(connection):
        case "UTF8":
            return None
        case "SQL_ASCII":
            return "the database is in SQL_ASCII: one prompt that is not UTF-8 stops all work"
        case other:
            return f"the database is in {other}: error messages lose the characters that it lacks"


def lacks_characters_of(connection: BaseConnection[Any], text: str) -> bool:
    try:
        text.encode(_codec(connection))
    except UnicodeEncodeError:
        return True
    return False


def write_any(connection: BaseConnection[Any]) -> None:
    """Write a ? for what the database lacks: a token whose error could not be written would be at
    work for ever."""
    if _of(connection) not in {UTF8, ANY_BYTES}:
        connection.adapters.register_dumper(str, _ReplacingDumper)


def _of(connection: BaseConnection[Any]) -> str:
    return connection.info.parameter_status("server_encoding") or UTF8


def _codec(connection: BaseConnection[Any]) -> str:
    """Python's name of it."""
    name = _of(connection)
    return "utf-8" if name == ANY_BYTES else pg2pyenc(name.encode())


class _ReplacingDumper(StrDumperUnknown):
    def __init__(self, cls: type, context: AdaptContext | None = None) -> None:
        super().__init__(cls, context)
        assert context is not None and context.connection is not None  # noqa: S101 (its map is)
        self._codec = _codec(context.connection)

    def dump(self, obj: str) -> Buffer | None:
        return super().dump(obj.encode(self._codec, "replace").decode(self._codec))
