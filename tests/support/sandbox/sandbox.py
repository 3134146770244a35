"""`Sandbox`: the product's stand-in for Replicate's API, made for judges and drills."""

import socket
from typing import Self

from imagegen.sandbox.api import DEFAULT_TOKEN, RETENTION_SECONDS
from imagegen.sandbox.predictions import PredictionStore
from imagegen.sandbox.server import HOST
from tests.support.sandbox.api import AccountApi, CreateLimit
from tests.support.sandbox.faults import Faults
from tests.support.sandbox.http_server import FaultyServer
from tests.support.sandbox.ledger import Ledger, LedgerBook, Predictions, predictions_in


class Sandbox:
    """A stand-in for Replicate's API on this host.

    `stop()` makes it unreachable, `start()` brings it back on the same port with all it knew.
    """

    def __init__(
        self,
        latency_seconds: float = 1.0,
        *,
        port: int = 0,
        models: set[str] | None = None,
        creates_per_minute: int | None = None,
        burst: int = 1,
        retention_seconds: float = RETENTION_SECONDS,
    ) -> None:
        self.port = port
        self.faults = Faults()
        self._models = models
        self._retention_seconds = retention_seconds
        self._limit = CreateLimit(creates_per_minute, burst) if creates_per_minute else None
        self._store = PredictionStore(latency_seconds)
        self._book = LedgerBook()
        self._api_token = DEFAULT_TOKEN
        self._api: AccountApi | None = None
        self._server: FaultyServer | None = None
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
        return predictions_in(self._store)

    @property
    def latency_seconds(self) -> float:
        """How long predictions take that are made from now on."""
        return self._store.latency_seconds

    @latency_seconds.setter
    def latency_seconds(self, seconds: float) -> None:
        self._store.latency_seconds = seconds

    def renew_api_token(self, token: str) -> None:
        """Take this API token from now on, and no other."""
        self._api_token = token
        if self._api is not None:
            self._api.api_token = token

    def add(self, prompt: str, *, model: str, seed: int | None = None, source: str = "api") -> str:
        """Make a prediction of somebody else at the same account; return its id."""
        inputs: dict[str, object] = {"prompt": prompt}
        if seed is not None:
            inputs["seed"] = seed
        script = self.faults.take_script(prompt)
        return self._store.create(model, "hidden", inputs, script, 1800.0, source=source).id

    def repeat(self, prediction_id: str) -> str:
        """Make another prediction of the same request, as if something in between had sent it
        again; return its id."""
        first = self._store.get(prediction_id)
        assert first is not None
        script = self.faults.take_script(first.prompt)
        return self._store.create(first.model, first.version, first.input, script, 1800.0).id

    def age(self, seconds: float) -> None:
        """Let all predictions so far be made so much earlier."""
        self._store.age(seconds)

    def start(self) -> None:
        if self._server is not None:
            return
        self._reserve_port()
        self._server = FaultyServer((HOST, self.port), self._store, self.faults, self._book)
        self._api = AccountApi(
            self.url,
            self._store,
            self.faults,
            models=self._models,
            limit=self._limit,
            retention_seconds=self._retention_seconds,
        )
        self._api.api_token = self._api_token
        self._server.run(self._api)

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
