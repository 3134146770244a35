"""What the judge of a test reads: every request to the sandbox, every prediction of it."""

import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from imagegen.sandbox.predictions import PredictionStore


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


@dataclass(frozen=True)
class Prediction:
    """A prediction at one moment. All times are on the host's monotonic clock."""

    id: str
    model: str
    version: str
    prompt: str
    seed: int | None
    source: str
    images: int  # as many as were asked for
    created_seconds: float
    status: str
    error: str | None
    started_seconds: float | None
    completed_seconds: float | None


class Predictions(tuple[Prediction, ...]):
    """All predictions at one moment, oldest first, with the questions that a judge asks."""

    __slots__ = ()

    def with_status(self, status: str) -> "Predictions":
        return Predictions(each for each in self if each.status == status)

    def about(self, prompt: str) -> "Predictions":
        return Predictions(each for each in self if prompt in each.prompt)

    def paid(self) -> "Predictions":
        """Those that cost money: they succeeded."""
        return self.with_status("succeeded")

    def paid_by_prompt(self) -> Counter[str]:
        """How many images were paid for each prompt."""
        return Counter(each.prompt for each in self.paid())

    def paid_by_prompt_and_seed(self) -> Counter[tuple[str, int | None]]:
        return Counter((each.prompt, each.seed) for each in self.paid())

    def most_at_once(self) -> int:
        """The most predictions that were under way, from created to completed, at any moment."""
        steps = [(each.created_seconds, 1) for each in self]
        steps += [(each.completed_seconds, -1) for each in self if each.completed_seconds]
        most = running = 0
        for _, step in sorted(steps):  # at the same instant, one ends before the next begins
            running += step
            most = max(most, running)
        return most


def predictions_in(store: PredictionStore) -> Predictions:
    now = time.monotonic()
    return Predictions(
        Prediction(
            id=each.id,
            model=each.model,
            version=each.version,
            prompt=each.prompt,
            seed=each.seed,
            source=each.source,
            images=int(str(each.input.get("num_outputs", 1))),
            created_seconds=each.created_seconds,
            **vars(each.at(now)),
        )
        for each in store.all()
    )


def predictions_from_json(rows: Iterable[dict[str, object]]) -> Predictions:
    return Predictions(Prediction(**row) for row in rows)  # type: ignore[arg-type]
