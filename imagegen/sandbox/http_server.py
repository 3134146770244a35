"""The sandbox's HTTP server: reads requests, and spoils their answers as the faults tell."""

import contextlib
import math
import socket
import socketserver
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from imagegen.sandbox.api import Api
from imagegen.sandbox.calls import Call, read_call
from imagegen.sandbox.control import PREFIX, Control
from imagegen.sandbox.effects import Manner, Reply
from imagegen.sandbox.faults import Faults
from imagegen.sandbox.ledger import Entry, LedgerBook
from imagegen.sandbox.responses import Answer, phrase

STOP_CHECK_SECONDS = 0.02  # how often the accept loop looks whether it should end
GONE_SECONDS = 2.0  # a connection that was shut down ends at once; more for a busy machine
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time at all


class Server(ThreadingHTTPServer):
    """Accepts connections, a thread for each, and can break them all off."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_port = False  # two sandboxes on one port are a mistake
    request_queue_size = 128

    def __init__(
        self, address: tuple[str, int], faults: Faults, book: LedgerBook, control: Control
    ) -> None:
        self.api: Api  # set by `run`: its URLs need the port
        self.faults = faults
        self.book = book
        self.control = control
        self.stopping = threading.Event()
        self._connections: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__(address, Handler)

    def run(self, api: Api) -> None:
        self.api = api
        threading.Thread(
            target=self.serve_forever, args=(STOP_CHECK_SECONDS,), name="sandbox", daemon=True
        ).start()

    def end(self) -> None:
        """Stop listening, break off every connection, and see their threads out."""
        self.stopping.set()
        self.shutdown()
        self.server_close()
        with self._changed:
            for connection in self._connections:
                break_off(connection)
            self._changed.wait_for(lambda: not self._connections, GONE_SECONDS)

    def server_bind(self) -> None:
        # Without HTTPServer's look-up of the host's name, which takes seconds on some machines.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", self.socket.getsockname()[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changed:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._changed:
            self._connections.discard(request)
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing for a client that went away, which is its right; else a traceback."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def handle_call(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        if self.path.startswith(PREFIX):
            self._send(self.server.control.answer(self.command, self.path, body))
            return
        call = read_call(self.command, self.path, dict(self.headers), body)
        prompt, seed = self.server.api.about(call)
        number = self.server.book.write(
            Entry(
                at_seconds=time.monotonic(),
                operation=call.operation,
                method=call.method,
                path=call.target,
                prompt=prompt,
                seed=seed,
                prediction_id=call.named if call.operation in ("get", "cancel", "file") else None,
            )
        )
        reply = self.server.faults.take_reply(call.operation, prompt)
        self._answer(call, number, reply or Reply(creates=True))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_call  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """The ledger is the log."""

    def _answer(self, call: Call, number: int, reply: Reply) -> None:
        """Carry the call out, if its fault lets it, and answer as its fault tells."""
        book = self.server.book
        answer = reply.instead()
        if reply.creates:
            true_answer = self.server.api.answer(call)
            answer = answer or reply.changed(true_answer)
            if true_answer.prediction_id:
                book.note_prediction(number, true_answer.prediction_id)
        self._wait(reply.late_seconds)
        if answer is None or reply.manner in ("reset", "silence") or self._is_client_gone():
            self._hang_up(reset=reply.manner == "reset")
            return
        if reply.manner == "cut":
            self._send(answer, "cut")
            self._hang_up(reset=False)
            return
        book.note_status(number, answer.status)  # first, so that whoever has the answer finds it
        try:
            self._send(answer, reply.manner, reply.over_seconds)
        except ConnectionError:
            book.note_status(number, None)
            raise

    def _send(self, answer: Answer, manner: Manner = "whole", over_seconds: float = 0.0) -> None:
        """Head and body in one write, but for what is cut off or drips."""
        lines = [f"HTTP/1.1 {answer.status} {phrase(answer.status)}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        lines += [f"date: {self.date_time_string()}", f"content-length: {len(answer.body)}", "", ""]
        head = "\r\n".join(lines).encode("latin-1")
        body = b"" if self.command == "HEAD" else answer.body
        match manner:
            case "drip head":
                self._drip(head, over_seconds)
                self.wfile.write(body)
            case "drip body":
                self.wfile.write(head)
                self._drip(body, over_seconds)
            case "cut":
                self.wfile.write(head + body[: len(body) // 2])
            case _:
                self.wfile.write(head + body)

    def _drip(self, data: bytes, over_seconds: float) -> None:
        for place in range(len(data)):
            self._wait(over_seconds / len(data))
            self.wfile.write(data[place : place + 1])

    def _wait(self, seconds: float) -> None:
        """Until the time is over or the sandbox stops."""
        if seconds > 0:
            self.server.stopping.wait(seconds if math.isfinite(seconds) else None)

    def _is_client_gone(self) -> bool:
        try:
            return not self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except ConnectionError:
            return True

    def _hang_up(self, *, reset: bool) -> None:
        self.close_connection = True
        if reset:
            # Closed by hand: the server would say goodbye first, and that is no reset.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.rfile.close()
            self.connection.close()


def break_off(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # closed already, by its client or by its own thread
        connection.shutdown(socket.SHUT_RDWR)
