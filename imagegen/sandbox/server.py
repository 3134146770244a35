"""`Sandbox`: a stand-in for Replicate's API on this host."""

from typing import Self

from imagegen.sandbox.api import Api
from imagegen.sandbox.faults import Fault, Faults
from imagegen.sandbox.http_server import Handler, Server
from imagegen.sandbox.predictions import PredictionStore

HOST = "127.0.0.1"


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
