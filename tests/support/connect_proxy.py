"""A proxy of HTTP that is asked for tunnels (CONNECT), as HTTPS_PROXY names it."""

import socket

from tests.support.canned_server import whole_request
from tests.support.proxy import Proxy

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class ConnectProxy(Proxy):
    """Makes each tunnel to the same port of this machine, and keeps what it was asked."""

    def __init__(self, port: int, answer: bytes | None = ESTABLISHED) -> None:
        """`answer` is given to each CONNECT; without one, the connection just ends."""
        super().__init__(port)
        self._answer = answer
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _connect(self, client: socket.socket) -> None:
        self.requests.append(whole_request(client))
        if self._answer != ESTABLISHED:
            with client:
                client.sendall(self._answer or b"")
            return
        client.sendall(self._answer)
        super()._connect(client)
