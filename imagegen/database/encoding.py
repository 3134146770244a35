"""Databases that are not in UTF-8: old ones, and those that were created with LANG=C.

PostgreSQL converts between our UTF-8 and the database's encoding, and refuses characters that the
latter lacks. SQL_ASCII means no encoding, and works if other clients write UTF-8 too.
"""

import json
from typing import Any

from psycopg import BaseConnection, Connection
from psycopg._encodings import pg2pyenc
from psycopg.abc import AdaptContext, Buffer
from psycopg.types.json import set_json_loads
from psycopg.types.string import StrDumperUnknown, TextLoader

INVALID_OID = 0  # psycopg uses its loader for all types without one, such as an enum
UTF8, NO_ENCODING = "UTF8", "SQL_ASCII"
FIX = "make another one (createdb --encoding=UTF8 --template=template0), and move there"


def encoding_warning(connection: BaseConnection[Any]) -> str | None:
    """Return a line on how the database's encoding harms texts; None if it is UTF-8."""
    name = _encoding(connection)
    if name == UTF8:
        return None
    if name == NO_ENCODING:
        return "the database is in SQL_ASCII: a token whose prompt is not UTF-8 is left alone"
    return f"the database is in {name}: error messages lose the characters that it lacks"


def can_store(connection: BaseConnection[Any], text: str) -> bool:
    """Return whether the database's encoding has all characters of the text."""
    try:
        text.encode(_codec(connection))
    except UnicodeEncodeError:
        return False
    return True


def replace_missing_characters(connection: BaseConnection[Any]) -> None:
    """Make the connection write a ? for each character that the database lacks.

    A worker could never finish a token whose error cannot be written.
    """
    if _encoding(connection) not in {UTF8, NO_ENCODING}:
        connection.adapters.register_dumper(str, _ReplacingDumper)


def read_any_bytes(connection: Connection[Any]) -> None:
    """Make the connection read bytes that are no text, or half a character, as lone surrogates.

    A page or a list that reads such a row must still show all others.
    """
    if _encoding(connection) == NO_ENCODING:
        connection.execute("SET client_encoding TO SQL_ASCII")  # PostgreSQL checks nothing then
        for type_ in ("text", "varchar", "bpchar", "name", INVALID_OID):
            connection.adapters.register_loader(type_, _TolerantLoader)
        set_json_loads(_loads, connection)


def _encoding(connection: BaseConnection[Any]) -> str:
    return connection.info.parameter_status("server_encoding") or UTF8


def _codec(connection: BaseConnection[Any]) -> str:
    """Return Python's name of the database's encoding."""
    name = _encoding(connection)
    return "utf-8" if name == NO_ENCODING else pg2pyenc(name.encode())


class _ReplacingDumper(StrDumperUnknown):
    def __init__(self, cls: type, context: AdaptContext | None = None) -> None:
        super().__init__(cls, context)
        assert context is not None and context.connection is not None  # noqa: S101 (its map is)
        self._codec = _codec(context.connection)

    def dump(self, obj: str) -> Buffer | None:
        return super().dump(obj.encode(self._codec, "replace").decode(self._codec))


class _TolerantLoader(TextLoader):
    def load(self, data: Buffer) -> str:
        return bytes(data).decode(errors="surrogateescape")


def _loads(data: str | bytes) -> Any:
    return json.loads(data if isinstance(data, str) else data.decode(errors="surrogateescape"))
