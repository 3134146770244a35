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
FIX = "make another one (createdb --encoding=UTF8 --template=template0), and move there"


def encoding_warning(connection: BaseConnection[Any]) -> str | None:
    """Return what the database's encoding does to texts; None if it is UTF-8."""
    match _encoding(connection):
        case "UTF8":
            return None
        case "SQL_ASCII":
            return "the database is in SQL_ASCII: one prompt that is not UTF-8 stops all work"
        case other:
            return f"the database is in {other}: error messages lose the characters that it lacks"


def can_store(connection: BaseConnection[Any], text: str) -> bool:
    """Return whether the database's encoding has all characters of the text."""
    try:
        text.encode(_codec(connection))
    except UnicodeEncodeError:
        return False
    return True


def write_any(connection: BaseConnection[Any]) -> None:
    """Write a ? for each character that the database lacks.

    A token whose error could not be written would never leave the worker.
    """
    if _encoding(connection) not in {UTF8, ANY_BYTES}:
        connection.adapters.register_dumper(str, _ReplacingDumper)


def _encoding(connection: BaseConnection[Any]) -> str:
    return connection.info.parameter_status("server_encoding") or UTF8


def _codec(connection: BaseConnection[Any]) -> str:
    """Return Python's name of the database's encoding."""
    name = _encoding(connection)
    return "utf-8" if name == ANY_BYTES else pg2pyenc(name.encode())


class _ReplacingDumper(StrDumperUnknown):
    def __init__(self, cls: type, context: AdaptContext | None = None) -> None:
        super().__init__(cls, context)
        assert context is not None and context.connection is not None  # noqa: S101 (its map is)
        self._codec = _codec(context.connection)

    def dump(self, obj: str) -> Buffer | None:
        return super().dump(obj.encode(self._codec, "replace").decode(self._codec))
