"""A server whose kernel takes a few bytes of a request, so that the client's keeps the rest."""

import socket
from typing import Self

from tests.support.canned_server import whole_request

SMALLEST_BUFFER = 1  # bytes; the kernel makes it a few thousand
PATIENCE_SECONDS = 30.0


class StuckServer:
    """Reads nothing until the test asks."""

    def __init__(self) -> None:
        self._listening = socket.socket()
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALLEST_BUFFER)
        self._listening.bind(("127.0.0.1", 0))
        self._listening.listen()
        self._listening.settimeout(PATIENCE_SECONDS)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()

    def accept(self) -> socket.socket:
        """Return the next connection, of which nothing has been read."""
        connection, _ = self._listening.accept()
        connection.settimeout(PATIENCE_SECONDS)
        return connection


def arrives_whole(connection: socket.socket) -> bool:
    """Return whether all of a request arrives, now that it is read."""
    try:
        whole_request(connection)
    except ConnectionResetError:
        return False
    return True
