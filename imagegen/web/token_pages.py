"""The pages about tokens: /tokens is the search, /tokens/42 a token's own page."""

from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

import psycopg

from imagegen.config import Settings
from imagegen.database import Connection, Tables
from imagegen.redaction import Redactor
from imagegen.web.database_thread import NO_ANSWER, DatabaseThread
from imagegen.web.image_sources import origin
from imagegen.web.pages import message, page
from imagegen.web.responses import Response
from imagegen.web.search import Found, read_found
from imagegen.web.search_input import Search, SearchError, parse, token_id_of
from imagegen.web.snapshot import STATEMENT_TIMEOUT_MILLISECONDS
from imagegen.web.token_page import TokenPage, read_story

T = TypeVar("T")

PATH = "/tokens"
TOO_SLOW = (
    f"The database answers, but took longer than {STATEMENT_TIMEOUT_MILLISECONDS / 1000:g} s. After"
    " a restore or an upgrade of PostgreSQL it may want ANALYZE."
)


def is_of_tokens(path: str) -> bool:
    """Return whether a path is one of these pages."""
    return path == PATH or path.startswith(f"{PATH}/")


class TokenPages:
    """Serves the pages about tokens. Each page takes one round to the database."""

    def __init__(
        self, settings: Settings, database: DatabaseThread, timeout_seconds: Callable[[], float]
    ) -> None:
        self._database = database
        self._timeout_seconds = timeout_seconds
        self._redact = Redactor(settings.secrets)
        self._copies = settings.keep_images is not None
        self._base = settings.image_url_base

    def respond(self, path: str, query: str) -> Response:
        """Return the response to a GET of one of these pages."""
        try:
            return self._search(query) if path == PATH else self._token(path.removeprefix(PATH))
        except psycopg.errors.QueryCanceled:
            return message(HTTPStatus.SERVICE_UNAVAILABLE, "the database is too slow", TOO_SLOW)
        except NO_ANSWER as error:
            why = self._redact(str(error).partition("\n")[0])
            return message(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "the database does not answer",
                f"The database does not answer: {why}.",
            )

    def _token(self, name: str) -> Response:
        token_id = token_id_of(name.removeprefix("/"))
        story = token_id is not None and self._ask(
            lambda connection, tables: read_story(connection, tables, token_id, self._base)
        )
        if not story:
            why = "There is no such token, and nothing is on record of one."
            return message(HTTPStatus.NOT_FOUND, "no such token", why)
        shown = TokenPage(story, self._copies, self._base)
        origins = sorted({found for url in shown.images if (found := origin(url))})
        return page("token.mako", HTTPStatus.OK, origins, title=shown.title, page=shown)

    def _search(self, query: str) -> Response:
        try:
            search = parse(query)
            if search.is_for_one_token:
                return _elsewhere(f"{PATH}/{search.token}")
            found = self._ask(lambda connection, tables: read_found(connection, tables, search))
        except SearchError as error:
            return _found(HTTPStatus.BAD_REQUEST, Found(Search()), problem=str(error))
        except (psycopg.errors.UntranslatableCharacter, psycopg.errors.CharacterNotInRepertoire):
            why = "The encoding of the database lacks a character of what is searched for."
            return _found(HTTPStatus.BAD_REQUEST, Found(Search()), problem=why)
        return _found(HTTPStatus.OK, found, problem=None)

    def _ask(self, question: Callable[[Connection, Tables], T]) -> T:
        """Return the answer to a question for the database. Raises one of NO_ANSWER."""
        return self._database.ask(question, self._timeout_seconds())


def _found(status: HTTPStatus, found: Found, *, problem: str | None) -> Response:
    title = "tokens" if problem is None else "the search is not valid"
    return page("tokens.mako", status, [], title=title, found=found, problem=problem)


def _elsewhere(path: str) -> Response:
    headers = {"Location": path, "Cache-Control": "no-store"}
    return Response(HTTPStatus.SEE_OTHER, f"{path}\n".encode(), headers=headers)
