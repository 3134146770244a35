"""A server that says exactly these bytes: for answers that no proper server would give."""

import contextlib
import re
import socket
import threading
from collections.abc import Iterator


class CannedServer:
    """Gives every request the same answer, and keeps the requests."""

    def __init__(self, answer: bytes, *, stays_open: bool = False) -> None:
        """`stays_open`: a connection ends with its client, not with the first answer."""
        self.answer = answer
        self.requests: list[str] = []
        self.connections = 0
        self._stays_open = stays_open
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, name="canned")
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)  # ends the accept
        self._thread.join()
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            with connection, contextlib.suppress(ConnectionError):
                self._answer(connection)
                while self._stays_open and connection.recv(1, socket.MSG_PEEK):
                    self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        self.requests.append(whole_request(connection))
        connection.sendall(self.answer)


def whole_request(connection: socket.socket) -> str:
    """All of it: a connection closed on unread bytes would be reset, and its answer lost."""
    with connection.makefile("rb") as stream:
        head = b""
        while (line := stream.readline()) not in (b"\r\n", b""):
            head += line
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        return (head + b"\r\n" + stream.read(int(length[1]) if length else 0)).decode()


@contextlib.contextmanager
def canned(answer: bytes, *, stays_open: bool = False) -> Iterator[CannedServer]:
    server = CannedServer(answer, stays_open=stays_open)
    try:
        yield server
    finally:
        server.close()


def with_body(body: bytes, status: int = 200, *headers: str) -> bytes:
    """A whole answer around a body; the connection ends with it."""
    headers = ("connection: close", *headers, f"content-length: {len(body)}")
    lines = [f"HTTP/1.1 {status} Canned", *headers, "", ""]
    return "\r\n".join(lines).encode() + body
