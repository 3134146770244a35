"""What the exporter answers to a browser: the status page, one image large, a kept copy."""

from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import parse_qs

from prometheus_client import CollectorRegistry
from psycopg.errors import QueryCanceled

from imagegen.config import Settings
from imagegen.database import Connection, Tables
from imagegen.image_formats import format_of
from imagegen.metrics.workers import held_elsewhere, read_places
from imagegen.redaction import Redactor
from imagegen.web import image_wall, sections
from imagegen.web.database_thread import NO_ANSWER
from imagegen.web.document import ICON, ICON_PATH, document, security_headers
from imagegen.web.formatting import text
from imagegen.web.sections import Trouble
from imagegen.web.snapshot import Snapshot, read_details, read_path, read_snapshot

T = TypeVar("T")

HTML = "text/html; charset=utf-8"
# An image never changes, and a page that comes anew twice a minute shows many.
IMAGE_AGE_SECONDS = 86_400
# So long a page waits for the database, which may hang for longer than anybody waits for a page.
PATIENCE_SECONDS = 2.0
LARGEST_ID = 2**63 - 1
NO_IMAGE = "There is no such image."


@dataclass(frozen=True)
class Answer:
    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)


NOT_FOUND = Answer(HTTPStatus.NOT_FOUND, b"/, /metrics, /healthz or /readyz\n")


class Database(Protocol):
    def ask(self, question: Callable[[Connection, Tables], T], patience_seconds: float) -> T:
        """What a question brings. Raises one of NO_ANSWER."""


class Page:
    """The pages of one supervisor."""

    def __init__(
        self, settings: Settings, name: str, shared: CollectorRegistry, database: Database
    ) -> None:
        """`name` is the exporter's own; its supervisor's is the beginning of it."""
        self._settings = settings
        self._supervisor = name.rpartition(":")[0]
        self._shared = shared
        self._database = database
        self._redact = Redactor(settings.secrets)
        self._copies = settings.keep_images is not None  # that are served

    def answer(self, target: str) -> Answer:
        """What a path with its query brings."""
        path, _, query = target.partition("?")
        asked = parse_qs(query, keep_blank_values=True)
        home = image_wall.PAUSED if "paused" in asked else image_wall.HOME
        if path == "/" and "image" in asked:
            return self._large(_number(asked["image"][-1]), home)
        if path == "/":
            return self._status(home)
        if path == ICON_PATH:
            return _forever(ICON, "image/svg+xml")
        if path.startswith("/images/"):
            return self._copy(_number(path.removeprefix("/images/")))
        return NOT_FOUND

    def _status(self, home: str) -> Answer:
        now = self._now()
        view = self._view(now, home)
        status, shown = HTTPStatus.SERVICE_UNAVAILABLE, []
        if isinstance(now, Snapshot):
            status, shown = HTTPStatus.OK, now.pictures
        return Answer(
            status,
            document(
                sections.state(view),
                sections.header(view),
                sections.main(view),
                refreshes=view.refreshes,
            ),
            HTML,
            security_headers(image_wall.origins(shown, copies=self._copies)),
        )

    def _now(self) -> Snapshot | Trouble:
        try:
            return self._ask(read_snapshot)
        except QueryCanceled:
            return sections.TOO_SLOW
        except NO_ANSWER as error:
            return sections.away(self.told(error))

    def _view(self, now: Snapshot | Trouble, home: str) -> sections.View:
        held = now.held if isinstance(now, Snapshot) else None
        return sections.View(
            now=now,
            places=read_places(self._shared, self._supervisor, held),
            elsewhere=held_elsewhere(held or {}, self._supervisor),
            slots=self._settings.slots,
            copies=self._copies,
            home=home,
        )

    def _large(self, generation_id: int | None, home: str) -> Answer:
        """One image; it stays until the reader leaves it."""
        if generation_id is None:
            return _about_no_image(HTTPStatus.NOT_FOUND, NO_IMAGE, home)
        try:
            details = self._ask(lambda connection, _: read_details(connection, generation_id))
        except NO_ANSWER as error:
            why = f"The database does not answer: {self.told(error)}."
            return _about_no_image(HTTPStatus.SERVICE_UNAVAILABLE, why, home)
        if details is None:
            return _about_no_image(HTTPStatus.NOT_FOUND, NO_IMAGE, home)
        origins = image_wall.origins([details.picture], copies=self._copies)
        body = image_wall.large(details, copies=self._copies, home=home)
        title = f"image of token {details.picture.token_id}"
        return _about_image(HTTPStatus.OK, title, body, home, origins)

    def _copy(self, generation_id: int | None) -> Answer:
        """A kept copy of an image."""
        folder = self._settings.keep_images
        if folder is None or generation_id is None:
            return NOT_FOUND
        try:
            path = self._ask(lambda connection, _: read_path(connection, generation_id))
        except NO_ANSWER as error:
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{self.told(error)}\n".encode())
        image = read_image(folder, path) if path else None
        if image is None:
            return NOT_FOUND
        return _forever(*image)

    def _ask(self, question: Callable[[Connection, Tables], T]) -> T:
        """Raises one of NO_ANSWER, a TimeoutError when patience is at its end."""
        return self._database.ask(question, PATIENCE_SECONDS)

    def told(self, error: Exception) -> str:
        """Why the database gave no answer, in one line without a secret."""
        return self._redact(str(error).partition("\n")[0])


def _forever(image: bytes, content_type: str) -> Answer:
    """An image that a browser need not ask for again."""
    headers = security_headers([]) | {
        "Cache-Control": f"private, max-age={IMAGE_AGE_SECONDS}, immutable"
    }
    return Answer(HTTPStatus.OK, image, content_type, headers)


def _about_no_image(status: HTTPStatus, why: str, home: str) -> Answer:
    return _about_image(status, "no image", f'<p class="empty">{text(why)}</p>', home, [])


def _about_image(
    status: HTTPStatus, title: str, main: str, home: str, origins: list[str]
) -> Answer:
    mark = f'<p class="mark"><a href="{home}">imagegen</a></p>'
    header = f"{mark}\n<h1>{text(title.capitalize())}</h1>"
    body = document(title, header, main, refreshes=False)
    return Answer(status, body, HTML, security_headers(origins))


def read_image(folder: Path, path: str) -> tuple[bytes, str] | None:
    """An image of the folder with its media type; None where it is not there, or is none.

    Only the name of the path counts, and no link is followed: nothing else can be read. So the
    folder may have been moved as well.
    """
    file = folder / Path(path).name
    try:
        if file.is_symlink() or not file.is_file():
            return None
        image = file.read_bytes()
    except OSError:
        return None
    kind = format_of(image)
    return (image, kind.media_type) if kind else None


def _number(digits: str) -> int | None:
    """The id of a generation, or None."""
    number = int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 20 else 0
    return number if 0 < number <= LARGEST_ID else None
