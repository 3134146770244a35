"""The exporter's WSGI application: the status page and its images, /metrics, /healthz, /readyz."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qs
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CollectorRegistry, generate_latest
from psycopg.errors import QueryCanceled

from imagegen.config import Settings
from imagegen.database import Connection, Tables
from imagegen.failures import Reason
from imagegen.logs import log
from imagegen.metrics.workers import WorkerRow, Workers, workers_in
from imagegen.redaction import Redactor
from imagegen.web import image_sources, probes, problems
from imagegen.web.database_thread import NO_ANSWER, DatabaseThread
from imagegen.web.image_files import open_image
from imagegen.web.page_access import PageAccess
from imagegen.web.pages import message, page
from imagegen.web.problems import DatabaseProblem
from imagegen.web.rendering import ICON, ICON_PATH, security_headers
from imagegen.web.responses import FAILED, NOT_ALLOWED, NOT_FOUND, Response
from imagegen.web.snapshot import Snapshot, read_details, read_path, read_snapshot
from imagegen.web.stats import StatsCollector, any_token_waits
from imagegen.web.status_page import StatusPage
from imagegen.web.token_pages import TokenPages, is_of_tokens

T = TypeVar("T")

METRICS = "text/plain; version=0.0.4; charset=utf-8"
# For a day: an image never changes, and a page that refreshes twice a minute shows many.
IMAGE_CACHING = "private, max-age=86400, immutable"
# A person at a browser does not wait much longer.
DATABASE_TIMEOUT_SECONDS = 2.0
# A probe of /readyz may wait for the queries of a scrape and of a page, or find the connection dead
# and need another one. Most probes allow 5 s.
READINESS_TIMEOUT_SECONDS = 4.0
LARGEST_ID = 2**63 - 1


class App:
    """The application of one supervisor's exporter."""

    def __init__(
        self,
        settings: Settings,
        name: str,
        process_registry: CollectorRegistry,
        database: DatabaseThread,
        supervisor_silent_seconds: Callable[[], float],
        *,
        is_loopback: bool = True,
    ) -> None:
        """`name` is the exporter's process name, such as `supervisor:exporter.1`.

        `process_registry` has the metrics of all processes of that supervisor.
        `supervisor_silent_seconds` is the time since its loop last went round. `is_loopback`:
        whether only this host can reach the exporter.
        """
        self._settings = settings
        self._supervisor = name.rpartition(":")[0]
        self._process_registry = process_registry
        self._database = database
        self._supervisor_silent_seconds = supervisor_silent_seconds
        self._database_registry = CollectorRegistry()
        self._database_registry.register(StatsCollector(database, settings))
        self._database_registry.register(probes.SilenceCollector(supervisor_silent_seconds))
        self._access = PageAccess(settings, is_loopback=is_loopback)
        self._redact = Redactor(settings.secrets)
        self._serves_copies = settings.keep_images is not None
        self._tokens = TokenPages(settings, database, lambda: DATABASE_TIMEOUT_SECONDS)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        response = NOT_ALLOWED
        if method in {"GET", "HEAD"}:
            try:
                path = environ["PATH_INFO"]
                is_page = path == "/" or path.startswith("/images/") or is_of_tokens(path)
                refusal = self._access.refusal(environ) if is_page else None
                response = refusal or self.respond(path, environ["QUERY_STRING"])
            except Exception:  # noqa: BLE001 (a request's outermost handler)
                log.warning("exporter.request.failed", exc_info=True)
                response = FAILED
        headers = {
            "Server": "imagegen",
            "Content-Type": response.content_type,
            "Content-Length": str(len(response.body)),
        }
        status = f"{response.status.value} {response.status.phrase}"
        start_response(status, [*(headers | response.headers).items()])
        return [] if method == "HEAD" else [response.body]

    def respond(self, path: str, query: str) -> Response:
        """Return the response to a GET."""
        if is_of_tokens(path):
            return self._tokens.respond(path, query)
        asked = parse_qs(query, keep_blank_values=True)
        home = image_sources.PAUSED if "paused" in asked else image_sources.HOME
        match path:
            case "/" if "image" in asked:
                return self._large(_generation_id(asked["image"][-1]), home)
            case "/":
                return self._status(home)
            case "/metrics":
                registries = self._process_registry, self._database_registry
                metrics = b"".join(generate_latest(registry) for registry in registries)
                return Response(HTTPStatus.OK, metrics, METRICS)
            case "/healthz":
                return _probed(probes.unhealthy(self._supervisor_silent_seconds()))
            case "/readyz":
                return self._readiness()
            case str() if path == ICON_PATH:
                return _immutable(ICON, "image/svg+xml")
            case str() if path.startswith("/images/"):
                return self._copy(_generation_id(path.removeprefix("/images/")))
        return NOT_FOUND

    def _readiness(self) -> Response:
        problems, tokens_wait = [], True
        try:
            tokens_wait = self._database.ask(any_token_waits, READINESS_TIMEOUT_SECONDS)
        except NO_ANSWER as error:
            problems.append(f"database: {self._reason(error)}")
        workers = self._workers()
        problems += probes.unready(workers, tokens_wait=tokens_wait)
        is_paused = any(Reason.PAUSED in worker.closed_by for worker in workers.rows)
        return _probed(problems, "ok, and paused by an operator" if is_paused else "ok")

    def _status(self, home: str) -> Response:
        now = self._now()
        workers, busy_elsewhere = self._workers().rows, 0
        if isinstance(now, Snapshot):
            status = HTTPStatus.OK
            workers, busy_elsewhere = with_tokens(workers, now.tokens_by_worker, self._supervisor)
        else:
            status = HTTPStatus.SERVICE_UNAVAILABLE
            workers = [replace(worker, busy=None) for worker in workers]
        shown = StatusPage(
            now=now,
            workers=workers,
            busy_elsewhere=busy_elsewhere,
            slots=self._settings.slots,
            copies=self._serves_copies,
            home=home,
        )
        origins = image_sources.origins(shown.pictures, copies=self._serves_copies)
        return page("status.mako", status, origins, title=shown.title, page=shown)

    def _now(self) -> Snapshot | DatabaseProblem:
        try:
            return self._ask(read_snapshot)
        except QueryCanceled:
            return problems.TOO_SLOW
        except NO_ANSWER as error:
            return problems.database_away(self._reason(error))

    def _workers(self) -> Workers:
        metrics = self._process_registry.collect()
        return workers_in(sample for metric in metrics for sample in metric.samples)

    def _large(self, generation_id: int | None, home: str) -> Response:
        """Return the page of one image."""
        try:
            details = generation_id and self._ask(
                lambda connection, _: read_details(connection, generation_id)
            )
        except NO_ANSWER as error:
            why = f"The database does not answer: {self._reason(error)}."
            return _no_image(HTTPStatus.SERVICE_UNAVAILABLE, why, home)
        if not details:
            return _no_image(HTTPStatus.NOT_FOUND, "There is no such image.", home)
        copies = self._serves_copies
        title = f"image of token {details.picture.token_id}"
        origins = image_sources.origins([details.picture], copies=copies)
        shown = {"title": title, "details": details, "copies": copies, "home": home}
        return page("image.mako", HTTPStatus.OK, origins, **shown)

    def _copy(self, generation_id: int | None) -> Response:
        """Return a kept copy of an image."""
        folder = self._settings.keep_images
        if not isinstance(folder, Path) or generation_id is None:
            return NOT_FOUND
        try:
            path = self._ask(lambda connection, _: read_path(connection, generation_id))
        except NO_ANSWER as error:
            return Response(HTTPStatus.SERVICE_UNAVAILABLE, f"{self._reason(error)}\n".encode())
        image = read_image(folder, path) if path else None
        return _immutable(*image) if image else NOT_FOUND

    def _ask(self, question: Callable[[Connection, Tables], T]) -> T:
        """Return the answer to a question for the database. Raises one of NO_ANSWER."""
        return self._database.ask(question, DATABASE_TIMEOUT_SECONDS)

    def _reason(self, error: Exception) -> str:
        """Return why the database gave no answer, in one line without a secret."""
        return self._redact(str(error).partition("\n")[0])


def with_tokens(
    workers: Iterable[WorkerRow], tokens_by_worker: Mapping[str, int], supervisor: str
) -> tuple[list[WorkerRow], int]:
    """Return the workers with their tokens at work, and the number of tokens at work elsewhere.

    The keys of `tokens_by_worker` are names of processes, `supervisor:slot.start`.
    """
    busy: Counter[str] = Counter()
    elsewhere = 0
    for name, tokens in tokens_by_worker.items():
        owner, _, process = name.rpartition(":")
        if owner == supervisor:
            busy[process.partition(".")[0]] += tokens
        elif name:
            elsewhere += tokens
    return [replace(worker, busy=busy[worker.slot]) for worker in workers], elsewhere


def _probed(problems: list[str], fine: str = "ok") -> Response:
    status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
    return Response(status, ("\n".join(problems or [fine]) + "\n").encode())


def _no_image(status: HTTPStatus, why: str, home: str) -> Response:
    return message(status, "no image", why, home)


def _immutable(image: bytes, content_type: str) -> Response:
    """Return an image that a browser need not ask for again."""
    headers = security_headers([]) | {"Cache-Control": IMAGE_CACHING}
    return Response(HTTPStatus.OK, image, content_type, headers)


def read_image(folder: Path, path: str) -> tuple[bytes, str] | None:
    """Return an image of the folder with its media type; None if it is not there, or is no image.

    The file is looked up by its name alone: the folder may have been moved since the path was
    recorded.
    """
    image = open_image(folder, Path(path).name)
    if image is None:
        return None
    with image.file:
        try:
            return image.file.read(), image.media_type
        except OSError:
            return None


def _generation_id(digits: str) -> int | None:
    number = int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 20 else 0
    return number if 0 < number <= LARGEST_ID else None
