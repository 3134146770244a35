"""`Sandbox`: a stand-in for Replicate's API on this host, with a thread for each connection."""

import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from imagegen.sandbox.api import Api, Call, read_call
from imagegen.sandbox.faults import Fault, Faults
from imagegen.sandbox.predictions import PredictionStore

HOST = "127.0.0.1"
STOP_CHECK_SECONDS = 0.02  # how often the accept loop checks whether it should end


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "Server"

    def handle_call(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        self.respond(read_call(self.command, self.path, dict(self.headers), body))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_call  # noqa: N815

    def respond(self, call: Call) -> None:
        answer = self.server.api.answer(call)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing: stderr is the terminal of the demo."""


class Server(ThreadingHTTPServer):
    """Accepts connections on an address of this host."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    api: Api  # set by `run`, because its URLs need the port

    def run(self, api: Api) -> None:
        """Start to answer, in a thread."""
        self.api = api
        threading.Thread(
            target=self.serve_forever, args=(STOP_CHECK_SECONDS,), name="sandbox", daemon=True
        ).start()

    def end(self) -> None:
        """Stop listening."""
        self.shutdown()
        self.server_close()

    def server_bind(self) -> None:
        # Skips HTTPServer's look-up of the host's name, which takes seconds on some machines.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", self.socket.getsockname()[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print a traceback, unless the client only closed its connection."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Sandbox:
    """Serves Replicate's API on a free port while it is entered."""

    def __init__(self, *faults: Fault, latency_seconds: float) -> None:
        self._faults = Faults(*faults)
        self._store = PredictionStore(latency_seconds)

    def __enter__(self) -> Self:
        self._server = Server((HOST, 0), Handler)
        self.url = f"http://{HOST}:{self._server.server_port}"
        self._server.run(Api(self.url, self._store, self._faults.take_script))
        return self

    def __exit__(self, *_: object) -> None:
        self._server.end()
