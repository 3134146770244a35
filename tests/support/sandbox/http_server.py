"""The product's sandbox server, which spoils answers as the faults say and notes every request."""

import contextlib
import json
import math
import socket
import struct
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

from imagegen.sandbox.api import Call
from imagegen.sandbox.predictions import PredictionStore
from imagegen.sandbox.responses import Answer
from imagegen.sandbox.server import Handler, Server
from tests.support.sandbox.answers import phrase
from tests.support.sandbox.api import prompt_and_seed
from tests.support.sandbox.control import PREFIX, Control
from tests.support.sandbox.faults import Faults
from tests.support.sandbox.ledger import Entry, LedgerBook
from tests.support.sandbox.scripts import ReplyScript, Transport

GONE_SECONDS = 2.0  # a connection that was shut down ends at once; more for a busy machine
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time at all


class FaultyServer(Server):
    """Can break all its connections off."""

    allow_reuse_port = False  # two sandboxes on one port are a mistake

    def __init__(
        self, address: tuple[str, int], store: PredictionStore, faults: Faults, book: LedgerBook
    ) -> None:
        self.store = store
        self.faults = faults
        self.book = book
        self.control = Control(store, faults, book)
        self.stopping = threading.Event()
        self._connections: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__(address, FaultyHandler)

    def end(self) -> None:
        """Stop listening, break off every connection, and see their threads out."""
        self.stopping.set()
        super().end()
        with self._changed:
            for connection in self._connections:
                break_off(connection)
            self._changed.wait_for(lambda: not self._connections, GONE_SECONDS)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changed:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._changed:
            self._connections.discard(request)
            self._changed.notify_all()


class FaultyHandler(Handler):
    """One connection, whose answers may be late, changed, cut, dripping or missing."""

    server: FaultyServer

    def respond(self, call: Call) -> None:
        if call.target.startswith(PREFIX):
            self.send(self.server.control.answer(call.method, call.target, call.body))
            return
        prompt, seed = prompt_and_seed(call, self.server.store)
        number = self.server.book.write(
            Entry(
                at_seconds=time.monotonic(),
                operation=call.operation,
                method=call.method,
                path=call.target,
                prompt=prompt,
                seed=seed,
                prediction_id=call.subject if call.operation in ("get", "cancel", "file") else None,
            )
        )
        reply = self.server.faults.take_reply(call.operation, prompt)
        self._answer(call, number, reply or ReplyScript(creates=True))

    def _answer(self, call: Call, number: int, reply: ReplyScript) -> None:
        """Carry the call out, if its fault lets it, and answer as its fault says."""
        book = self.server.book
        answer = reply.instead()
        if reply.creates:
            for _ in range(reply.repeats):
                self.server.api.answer(call)
            true_answer = self.server.api.answer(until(call, reply.lags_seconds))
            answer = answer or reply.changed(true_answer)
            if call.operation == "create" and true_answer.status == 201:
                book.note_prediction(number, json.loads(true_answer.body)["id"])
        self._wait(reply.late_seconds)
        if answer is None or reply.transport in ("reset", "silence") or self._is_client_gone():
            self._hang_up(reset=reply.transport == "reset")
            return
        if reply.transport == "cut":
            self.send(answer, "cut")
            self._hang_up(reset=False)
            return
        book.note_status(number, answer.status)  # first, so that a client with the answer finds it
        try:
            self.send(answer, reply.transport, reply.over_seconds)
        except ConnectionError:
            book.note_status(number, None)
            raise

    def send(
        self, answer: Answer, transport: Transport = "whole", over_seconds: float = 0.0
    ) -> None:
        """Head and body in one write, unless they are cut or drip."""
        head, body = self._head_of(answer), b"" if self.command == "HEAD" else answer.body
        match transport:
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

    def _head_of(self, answer: Answer) -> bytes:
        lines = [f"HTTP/1.1 {answer.status} {phrase(answer.status)}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        lines += [f"date: {self.date_time_string()}", f"content-length: {len(answer.body)}", "", ""]
        return "\r\n".join(lines).encode("latin-1")

    def _drip(self, data: bytes, over_seconds: float) -> None:
        for index in range(len(data)):
            self._wait(over_seconds / len(data))
            self.wfile.write(data[index : index + 1])

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


def until(call: Call, seconds_ago: float) -> Call:
    """Return a call for a list without the last `seconds_ago` seconds; any other call as it is."""
    if not seconds_ago:
        return call
    end = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    query = urlencode({**call.query, "created_before": end.isoformat()})
    return replace(call, target=f"{urlsplit(call.target).path}?{query}")


def break_off(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # closed already, by its client or by its own thread
        connection.shutdown(socket.SHUT_RDWR)
