"""The HTTP server of the exporter: a thread for each request, and limits for slow clients."""

import io
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import WSGIApplication

from imagegen.logs import log

# More than a browser, two Prometheus servers and the probes open at once.
MOST_CONNECTIONS = 64
# From the connection to the end of the request's headers. A probe sends them at once; a browser may
# connect before it has a request.
READ_SECONDS = 5.0
# From the connection to the end of the response. Enough for the longest answer of the database, and
# a page over a slow line.
WHOLE_SECONDS = 30.0
# Errors that a disconnecting or silent client causes.
OF_THE_CLIENT = (ConnectionError, TimeoutError)


class Server(ThreadingMixIn, WSGIServer):
    """An HTTP server with a thread for each request, and at most MOST_CONNECTIONS of them.

    A further connection ends the oldest one whose request has not come yet. So clients that open
    connections and send nothing neither use up threads nor keep probes out.
    """

    daemon_threads = True

    def __init__(
        self,
        listening: socket.socket,
        app: WSGIApplication,
        heartbeat: Callable[[], None],
        *,
        whole_seconds: float | None = None,
    ) -> None:
        """`whole_seconds` is the longest that a connection may last; None: WHOLE_SECONDS."""
        super().__init__(listening.getsockname()[:2], Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.server_name, self.server_port = listening.getsockname()[:2]
        self.setup_environ()
        self.set_app(app)
        self._heartbeat = heartbeat
        self._whole_seconds = whole_seconds
        self._connections: dict[socket.socket, float] = {}  # when accepted; the oldest first
        self._reading: set[socket.socket] = set()  # those whose request has not come yet
        self._lock = threading.Lock()

    def service_actions(self) -> None:
        """Called twice a second, between requests."""
        self._heartbeat()
        now, whole_seconds = time.monotonic(), self._whole_seconds or WHOLE_SECONDS
        with self._lock:
            for connection, accepted_at in self._connections.items():
                limit = READ_SECONDS if connection in self._reading else whole_seconds
                if now - accepted_at > limit:
                    _end(connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start the thread of a connection."""
        with self._lock:
            if len(self._connections) >= MOST_CONNECTIONS:
                slow = (each for each in self._connections if each in self._reading)
                oldest = next(slow, None) or next(iter(self._connections))
                self._forget(oldest)
                _end(oldest)
            self._connections[request] = time.monotonic()
            self._reading.add(request)
        super().process_request(request, client_address)

    def request_has_come(self, connection: socket.socket) -> None:
        with self._lock:
            self._reading.discard(connection)

    def shutdown_request(self, request: Any) -> None:
        """Called at the end of every connection."""
        with self._lock:
            self._forget(request)
        super().shutdown_request(request)

    def _forget(self, connection: socket.socket) -> None:
        self._connections.pop(connection, None)
        self._reading.discard(connection)

    def handle_error(self, request: object, client_address: object) -> None:
        """Log an error, unless the client has disconnected or was silent for too long."""
        if not isinstance(sys.exception(), OF_THE_CLIENT):
            log.warning("exporter.request.failed", exc_info=True)


def _end(connection: socket.socket) -> None:
    """Shut a connection down. Its thread notices that, and closes it."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class Handler(WSGIRequestHandler):
    server: Server
    server_version = "imagegen"
    sys_version = ""
    timeout = 10.0  # seconds that a client may not take what it is sent

    def parse_request(self) -> bool:
        """Called when the first line of the request has come, to read its headers."""
        is_request = super().parse_request()
        self.server.request_has_come(self.connection)
        return is_request

    def get_stderr(self) -> io.TextIOBase:
        """Return where wsgiref prints the traceback of a response that failed."""
        return _FailureLog()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (http.server's name)
        """Do not log each request: Prometheus sends one every few seconds."""


class _FailureLog(io.TextIOBase):
    """Logs an event in place of the traceback, unless the client is its cause."""

    def __init__(self) -> None:
        self._is_logged = False

    def write(self, text: str) -> int:
        error = sys.exception()
        if error and not isinstance(error, OF_THE_CLIENT) and not self._is_logged:
            self._is_logged = True
            log.warning("exporter.request.failed", exc_info=True)
        return len(text)
