"""TLS before the sandbox, with a certificate that clients trust, or with another."""

import contextlib
import select
import socket
import ssl
from pathlib import Path

import trustme

from tests.support.proxy import Proxy

HOST = "127.0.0.1"
RECORD_BYTES = 65536  # more than a TLS record: nothing is left in OpenSSL, where select is blind


class TlsFront(Proxy):
    """Ends TLS and passes what is in it on to a port of this machine."""

    def __init__(
        self,
        target_port: int,
        folder: Path,
        *,
        host: str = HOST,
        name: str = HOST,
        authority: trustme.CA | None = None,
    ) -> None:
        """Its certificates are for `name`, by `authority` or by one of its own."""
        super().__init__(target_port, host=host)
        self._name = name
        self.certificate = folder / "trusted.pem"
        self.authority = authority or trustme.CA()
        self.authority.cert_pem.write_to_path(str(self.certificate))
        self._trusted, self._untrusted = (
            _context(each, name) for each in (self.authority, trustme.CA())
        )
        self._context = self._trusted
        self._clients: set[socket.socket] = set()

    @property
    def settings(self) -> dict[str, str]:
        """By which imagegen finds it, and trusts it."""
        url = f"https://{self._name}:{self.port}"
        return {"REPLICATE_BASE_URL": url, "SSL_CERT_FILE": str(self.certificate)}

    def distrust(self) -> None:
        """Show another certificate from now on, also to those who are connected."""
        self._context = self._untrusted
        for client in list(self._clients):
            with contextlib.suppress(OSError):  # it ended by itself
                client.shutdown(socket.SHUT_RDWR)

    def trust(self) -> None:
        self._context = self._trusted

    def _connect(self, client: socket.socket) -> None:
        # An error of TLS is an OSError too: a client that does not trust us leaves.
        with (
            contextlib.suppress(OSError),
            self._context.wrap_socket(client, server_side=True) as secured,
            socket.create_connection(("127.0.0.1", self.target_port)) as server,
        ):
            self._clients.add(secured)
            try:
                _pass_on_both_ways(secured, server)
            finally:
                self._clients.discard(secured)


def _pass_on_both_ways(client: socket.socket, server: socket.socket) -> None:
    """In one thread: OpenSSL's connections are not made for two."""
    other = {client: server, server: client}
    while True:
        readable, _, _ = select.select(list(other), [], [])
        for source in readable:
            data = source.recv(RECORD_BYTES)
            if not data:
                return
            other[source].sendall(data)


def _context(authority: trustme.CA, name: str) -> ssl.SSLContext:
    """A server's side of TLS, with a certificate that only those trust who trust its authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context
