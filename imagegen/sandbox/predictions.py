"""The sandbox's predictions.

Nothing runs while a prediction does: its course is decided when it is made, and where it has got
to is worked out from the time when somebody looks.
"""

import base64
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from imagegen.sandbox.effects import Fate

TERMINAL = frozenset({"succeeded", "failed", "canceled", "aborted"})
# A warm model starts a prediction at once: after a share of the latency, but no more than this.
START_SHARE = 0.1
START_SECONDS = 0.2


@dataclass(frozen=True)
class Prediction:
    """A prediction at one moment. All times are on the host's monotonic clock."""

    id: str
    model: str
    version: str
    prompt: str
    seed: int | None
    status: str
    created_seconds: float
    started_seconds: float | None
    completed_seconds: float | None
    error: str | None


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


def predictions_from_json(rows: Iterable[dict[str, object]]) -> Predictions:
    return Predictions(Prediction(**row) for row in rows)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Order:
    """A prediction as it was asked for, and its course: which status it has from when on."""

    id: str
    model: str
    version: str
    input: dict[str, object]
    fate: Fate
    created_at: float  # Unix time
    created_seconds: float
    course: tuple[tuple[float, str], ...]

    def at(self, now: float) -> Prediction:
        status = self.course[0][1]
        started = completed = None
        for seconds, step in self.course:
            if seconds <= now:
                status = step
                started = seconds if step == "processing" else started
                completed = seconds if step in TERMINAL else completed
        seed = self.input.get("seed")
        return Prediction(
            id=self.id,
            model=self.model,
            version=self.version,
            prompt=str(self.input["prompt"]),
            seed=seed if isinstance(seed, int) else None,
            status=status,
            created_seconds=self.created_seconds,
            started_seconds=started,
            completed_seconds=completed,
            error=self.fate.error if status == self.fate.status else None,
        )

    def canceled(self, now: float) -> "Order":
        """The same, ended by its owner, where it has not ended before."""
        if self.at(now).completed_seconds is not None:
            return self
        return replace(self, course=cut(self.course, now, "canceled"))

    def is_hidden(self, now: float) -> bool:
        return now < self.created_seconds + self.fate.hidden_seconds

    def unix_time(self, seconds: float) -> float:
        return self.created_at + seconds - self.created_seconds


def course(
    created: float, fate: Fate, latency_seconds: float, cancel_after_seconds: float
) -> tuple[tuple[float, str], ...]:
    """What a prediction will go through if nobody cancels it."""
    latency = latency_seconds if fate.latency_seconds is None else fate.latency_seconds
    start = fate.starts_after_seconds
    if start is None:
        start = min(START_SHARE * latency, START_SECONDS)
    end = created + max(start, latency)
    steps = ((created, "starting"), (created + start, "processing"), (end, fate.status))
    deadline = created + cancel_after_seconds
    if fate.status in TERMINAL and end <= deadline:
        return steps
    return cut(steps, deadline, "aborted" if deadline < created + start else "canceled")


def cut(
    steps: tuple[tuple[float, str], ...], seconds: float, status: str
) -> tuple[tuple[float, str], ...]:
    return (*(step for step in steps if step[0] <= seconds), (seconds, status))


class PredictionStore:
    """Every prediction that was ever made here."""

    def __init__(self, latency_seconds: float) -> None:
        self.latency_seconds = latency_seconds
        self._lock = threading.Lock()
        self._orders: dict[str, Order] = {}  # in the order of their making

    def create(
        self,
        model: str,
        version: str,
        inputs: dict[str, object],
        fate: Fate,
        cancel_after_seconds: float,
    ) -> Order:
        now = time.monotonic()
        order = Order(
            id=new_id(),
            model=model,
            version=version,
            input=inputs,
            fate=fate,
            created_at=round(time.time(), 6),  # as exact as what is shown, so that filters meet it
            created_seconds=now,
            course=course(now, fate, self.latency_seconds, cancel_after_seconds),
        )
        with self._lock:
            self._orders[order.id] = order
        return order

    def get(self, prediction_id: str) -> Order | None:
        with self._lock:
            return self._orders.get(prediction_id)

    def cancel(self, order: Order) -> Order:
        with self._lock:
            canceled = self._orders[order.id].canceled(time.monotonic())
            self._orders[order.id] = canceled
            return canceled

    def visible(self) -> list[tuple[int, Order]]:
        """What the list shows: each with its number, newest first."""
        now = time.monotonic()
        with self._lock:
            numbered = list(enumerate(self._orders.values()))
        return [each for each in reversed(numbered) if not each[1].is_hidden(now)]

    def read(self) -> Predictions:
        now = time.monotonic()
        with self._lock:
            return Predictions(order.at(now) for order in self._orders.values())


def new_id() -> str:
    """26 lowercase letters and digits, as Replicate's."""
    return base64.b32encode(secrets.token_bytes(17)).decode().lower()[:26]
