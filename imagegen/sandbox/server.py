"""`Sandbox`: a stand-in for Replicate's API, to be used inside a test or on its own."""

import socket
from typing import Self

from imagegen.sandbox.api import Api
from imagegen.sandbox.control import Control
from imagegen.sandbox.faults import Faults
from imagegen.sandbox.http_server import Server
from imagegen.sandbox.ledger import Ledger, LedgerBook
from imagegen.sandbox.limits import CreateLimit
from imagegen.sandbox.predictions import Predictions, PredictionStore

DEFAULT_TOKEN = "sandbox-token"  # noqa: S105, it opens nothing but the sandbox
HOST = "127.0.0.1"
RETENTION_SECONDS = 3600.0  # Replicate removes input and output after an hour


class Sandbox:
    """A stand-in for Replicate's API on this host.

    `stop()` makes it unreachable, `start()` brings it back on the same port with all it knew.
    """

    def __init__(
        self,
        latency_seconds: float = 1.0,
        *,
        token: str = DEFAULT_TOKEN,
        port: int = 0,
        models: set[str] | None = None,
        creates_per_minute: int | None = None,
        burst: int = 1,
        retention_seconds: float = RETENTION_SECONDS,
    ) -> None:
        self.port = port
        self.token = token
        self.faults = Faults()
        self._models = models
        self._retention_seconds = retention_seconds
        self._limit = CreateLimit(creates_per_minute, burst) if creates_per_minute else None
        self._store = PredictionStore(latency_seconds)
        self._book = LedgerBook()
        self._server: Server | None = None
        self._reserved: socket.socket | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def ledger(self) -> Ledger:
        """Every request so far."""
        return self._book.read()

    @property
    def predictions(self) -> Predictions:
        """Every prediction so far, as it is now."""
        return self._store.read()

    @property
    def latency_seconds(self) -> float:
        """How long predictions take that are made from now on."""
        return self._store.latency_seconds

    @latency_seconds.setter
    def latency_seconds(self, seconds: float) -> None:
        self._store.latency_seconds = seconds

    def start(self) -> None:
        if self._server is not None:
            return
        self._reserve_port()
        control = Control(self._store, self.faults, self._book)
        self._server = Server((HOST, self.port), self.faults, self._book, control)
        self._server.run(
            Api(
                base_url=self.url,
                token=self.token,
                models=self._models,
                retention_seconds=self._retention_seconds,
                store=self._store,
                faults=self.faults,
                limit=self._limit,
            )
        )

    def stop(self) -> None:
        """Refuse connections and break off those there are; what was under way goes on."""
        if self._server is None:
            return
        self._server.end()
        self._server = None

    def close(self) -> None:
        self.stop()
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None

    def _reserve_port(self) -> None:
        """Hold the port until `close()`, with a socket that is bound beside the server's.

        It never listens, so while the sandbox is stopped connections are refused. Were the port
        free for that moment, any outgoing connection of this host could be given it.
        """
        if self._reserved is not None:
            return
        reserved = socket.socket()
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            reserved.bind((HOST, self.port))
        except OSError:
            reserved.close()
            raise
        self.port = reserved.getsockname()[1]
        self._reserved = reserved
