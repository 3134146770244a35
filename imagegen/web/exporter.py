"""The process that serves the status page, /metrics, /healthz and /readyz.

Whatever happens to it, workers go on.
"""

import errno
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.samples import Sample

from imagegen.config import Settings
from imagegen.errors import CannotStartError
from imagegen.failures import REFUSALS, Reason
from imagegen.logs import log
from imagegen.metrics.files import FilesCollector
from imagegen.web.app import Page
from imagegen.web.database_thread import NO_ANSWER, DatabaseCollector, look_at_tables

# Whoever asks whether all is well gives up after a few seconds himself.
READY_PATIENCE_SECONDS = 2.0
NO_HOST = "name an address of this host in --metrics-host (IMAGEGEN_METRICS_HOST)"
NO_PORT = "choose another --metrics-port (IMAGEGEN_METRICS_PORT; 0 takes a free one)"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def listen(host: str, port: int) -> socket.socket:
    """The exporter's socket, made here so that a restarted exporter keeps the port. Raises
    CannotStartError."""
    said = f"cannot serve metrics on {host}:{port}"
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with ExitStack() as undo:
            listening = undo.enter_context(socket.socket(family, kind))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen()
            undo.pop_all()
    except UnicodeError:  # a part of it is too long, or empty
        raise CannotStartError(f"{said}: no host has such a name", NO_HOST) from None
    except OSError as error:
        is_host = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
        raise CannotStartError(
            f"{said}: {error.strerror}", NO_HOST if is_host else NO_PORT
        ) from None
    return listening


def serve(
    listening: socket.socket, settings: Settings, name: str, beat: Callable[[], None]
) -> None:
    """Serve on a socket that listens already, until a signal ends the process; `beat` tells the
    watchdog that it still does."""
    registry = CollectorRegistry()
    registry.register(FilesCollector())
    database = DatabaseCollector(settings, name)
    page = Page(settings, name, registry, database)
    Server(listening, registry, database, page, beat).serve_forever()


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(
        self,
        listening: socket.socket,
        registry: CollectorRegistry,
        database: DatabaseCollector,
        page: Page,
        beat: Callable[[], None],
    ) -> None:
        super().__init__(listening.getsockname()[:2], Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.shared = registry
        self.database = database
        self.page = page
        self._beat = beat

    def service_actions(self) -> None:
        """Called twice a second, between requests."""
        self._beat()

    def metrics(self) -> bytes:
        everything = CollectorRegistry()
        everything.register(self.database)
        return bytes(generate_latest(self.shared) + generate_latest(everything))

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a reader who has left is no news
            log.warning("exporter.request.failed", exc_info=True)

    def unready(self) -> list[str]:
        """Why tokens do not become images, until somebody or something mends it; empty when all
        is well.

        One closed gate is enough: what closes it holds for the account and the network of all
        workers, and an open gate beside it is one that nobody has asked through since. A throttle
        is no reason, for it passes by itself, and tokens become images as fast as Replicate lets
        them.
        """
        why = []
        try:
            self.database.ask(look_at_tables, READY_PATIENCE_SECONDS)
        except NO_ANSWER as error:
            why.append(f"database: {self.page.told(error)}")
        if not sum(sample.value for sample in self._samples("imagegen_workers")):
            why.append("no worker is alive")
        for sample in self._samples("imagegen_gate_closed"):
            slot, reason = sample.labels["slot"], sample.labels["reason"]
            if sample.value and not REFUSALS[Reason(reason)].passes_by_itself:
                why.append(f"the gate of {slot} is closed: {reason}")
        return why

    def _samples(self, name: str) -> list[Sample]:
        gauges = [metric for metric in self.shared.collect() if metric.name == name]
        return [sample for metric in gauges for sample in metric.samples]


class Handler(BaseHTTPRequestHandler):
    server: Server
    server_version = "imagegen"
    sys_version = ""
    timeout = 10.0  # seconds that a client may be silent

    def parse_request(self) -> bool:
        """Nothing here can be changed: any other method ends here."""
        if not super().parse_request():
            return False
        allowed = self.command in {"GET", "HEAD"}
        if not allowed:
            refusal = HTTPStatus.METHOD_NOT_ALLOWED
            self._answer(refusal, b"GET or HEAD\n", headers={"Allow": "GET, HEAD"})
        return allowed

    def do_GET(self) -> None:
        match self.path.partition("?")[0]:
            case "/metrics":
                self._answer(HTTPStatus.OK, self.server.metrics(), CONTENT_TYPE)
            case "/healthz":
                self._answer(HTTPStatus.OK, b"ok\n")
            case "/readyz":
                why = self.server.unready()
                status = HTTPStatus.SERVICE_UNAVAILABLE if why else HTTPStatus.OK
                self._answer(status, ("\n".join(why or ["ok"]) + "\n").encode())
            case _:
                answer = self.server.page.answer(self.path)
                self._answer(answer.status, answer.body, answer.content_type, answer.headers)

    def do_HEAD(self) -> None:
        self.do_GET()

    def _answer(
        self,
        status: HTTPStatus,
        body: bytes,
        content_type: str = "text/plain; charset=utf-8",
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (http.server's name)
        """A scrape every few seconds is no news."""
