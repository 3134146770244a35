"""The ledger: every request that reached the sandbox, in order. The judge in the drills."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Entry:
    """One request, and what became of it."""

    at_seconds: float  # when it came, on the host's monotonic clock
    operation: str  # as in `Operation`; or `wrong method`, `unknown`
    method: str
    path: str  # with its query
    prompt: str | None = None
    seed: int | None = None
    prediction_id: str | None = None
    status: int | None = None  # None: not answered yet, or the answer was lost


class Ledger(tuple[Entry, ...]):
    """The entries at one moment, with the questions that a judge asks."""

    __slots__ = ()

    def of(self, operation: str) -> "Ledger":
        return Ledger(entry for entry in self if entry.operation == operation)

    def about(self, prompt: str) -> "Ledger":
        return Ledger(
            entry for entry in self if entry.prompt is not None and prompt in entry.prompt
        )

    def creates(self) -> "Ledger":
        """All requests to create a prediction, whatever came of them."""
        return self.of("create")

    def created(self) -> "Ledger":
        """The requests that made a prediction, whether or not the asker heard of it."""
        return Ledger(entry for entry in self.creates() if entry.prediction_id is not None)


class LedgerBook:
    """The pages that the server writes on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[Entry] = []

    def write(self, entry: Entry) -> int:
        """Note a request as it comes, and return its number."""
        with self._lock:
            self._entries.append(entry)
            return len(self._entries) - 1

    def note_prediction(self, number: int, prediction_id: str | None) -> None:
        with self._lock:
            self._entries[number] = replace(self._entries[number], prediction_id=prediction_id)

    def note_status(self, number: int, status: int | None) -> None:
        with self._lock:
            self._entries[number] = replace(self._entries[number], status=status)

    def read(self) -> Ledger:
        with self._lock:
            return Ledger(self._entries)


def ledger_from_json(rows: Iterable[dict[str, object]]) -> Ledger:
    return Ledger(Entry(**row) for row in rows)  # type: ignore[arg-type]
