"""Control of a sandbox from another process, under /sandbox/."""

import json
from dataclasses import asdict

from imagegen.sandbox.predictions import PredictionStore
from imagegen.sandbox.responses import NOT_FOUND, Answer, json_answer, problem
from tests.support.sandbox.faults import Fault, Faults
from tests.support.sandbox.ledger import LedgerBook, predictions_in

PREFIX = "/sandbox/"


class Control:
    """Reads and changes a sandbox's state, for `SandboxClient`."""

    def __init__(self, store: PredictionStore, faults: Faults, book: LedgerBook) -> None:
        self._store = store
        self._faults = faults
        self._book = book

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        match method, path.removeprefix(PREFIX):
            case "GET", "ledger":
                return json_answer([asdict(entry) for entry in self._book.read()])
            case "GET", "predictions":
                return json_answer([asdict(each) for each in predictions_in(self._store)])
            case "DELETE", "faults":
                self._faults.clear()
                return json_answer({})
            case ("POST", "faults") | ("PUT", "latency") as what:
                try:
                    self._change(what[1], json.loads(body))
                except (TypeError, ValueError, KeyError, AttributeError) as error:
                    return problem(400, f"{type(error).__name__}: {error}")
                return json_answer({})
            case _:
                return NOT_FOUND

    def _change(self, what: str, value: dict[str, object]) -> None:
        if what == "faults":
            self._faults.add(Fault.from_json(value))
        else:
            self._store.latency_seconds = float(str(value["latency_seconds"]))
