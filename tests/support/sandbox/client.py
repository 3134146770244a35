"""A sandbox in another process, with the same things to read and to change as `Sandbox`."""

import json
from typing import Any, Self

import httpx

from tests.support.sandbox.faults import Fault
from tests.support.sandbox.ledger import (
    Ledger,
    Predictions,
    ledger_from_json,
    predictions_from_json,
)


class SandboxClient:
    """Reads a sandbox's ledger and predictions, and adds faults, over HTTP."""

    def __init__(self, url: str) -> None:
        self.url = url
        # No proxy stands before the loopback.
        self._http = httpx.Client(base_url=f"{url}/sandbox/", trust_env=False)
        self.faults = RemoteFaults(self._http)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def ledger(self) -> Ledger:
        return ledger_from_json(self._read("ledger"))

    @property
    def predictions(self) -> Predictions:
        return predictions_from_json(self._read("predictions"))

    def set_latency(self, seconds: float) -> None:
        """How long predictions take that are made from now on."""
        answer = self._http.put("latency", content=json.dumps({"latency_seconds": seconds}))
        answer.raise_for_status()

    def close(self) -> None:
        self._http.close()

    def _read(self, what: str) -> Any:
        return self._http.get(what).raise_for_status().json()


class RemoteFaults:
    """The faults of a sandbox in another process."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def add(self, *faults: Fault) -> None:
        for fault in faults:
            content = json.dumps(fault.to_json())
            self._http.post("faults", content=content).raise_for_status()

    def clear(self) -> None:
        self._http.delete("faults").raise_for_status()
