"""The sandbox's predictions.

Nothing runs while a prediction does: its timeline is decided when it is created, and its status is
worked out from the time of each look.
"""

import base64
import secrets
import threading
import time
from dataclasses import dataclass, replace

from imagegen.sandbox.faults import PredictionScript

TERMINAL = frozenset({"succeeded", "failed", "canceled", "aborted"})
# A warm model starts a prediction at once: after a share of the latency, but no more than this.
START_SHARE = 0.1
START_SECONDS = 0.2

Timeline = tuple[tuple[float, str], ...]  # from when on which status, on the monotonic clock


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


@dataclass(frozen=True)
class StoredPrediction:
    """A prediction as it was requested, and its timeline."""

    id: str
    model: str
    version: str
    input: dict[str, object]
    script: PredictionScript
    created_at: float  # Unix time
    created_seconds: float
    timeline: Timeline

    def at(self, now: float) -> Prediction:
        status = self.timeline[0][1]
        started = completed = None
        for seconds, step in self.timeline:
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
            error=self.script.error if status == self.script.status else None,
        )

    def canceled(self, now: float) -> "StoredPrediction":
        """Return it canceled by its owner, or as it is if it has ended."""
        if self.at(now).completed_seconds is not None:
            return self
        return replace(self, timeline=cut(self.timeline, now, "canceled"))

    def is_hidden(self, now: float) -> bool:
        return now < self.created_seconds + self.script.hidden_seconds

    def unix_time(self, seconds: float) -> float:
        return self.created_at + seconds - self.created_seconds


def plan(
    created: float, script: PredictionScript, latency_seconds: float, cancel_after_seconds: float
) -> Timeline:
    """What a prediction will go through if nobody cancels it."""
    latency = latency_seconds if script.latency_seconds is None else script.latency_seconds
    start = script.starts_after_seconds
    if start is None:
        start = min(START_SHARE * latency, START_SECONDS)
    end = created + max(start, latency)
    timeline = ((created, "starting"), (created + start, "processing"), (end, script.status))
    deadline = created + cancel_after_seconds
    if script.status in TERMINAL and end <= deadline:
        return timeline
    return cut(timeline, deadline, "aborted" if deadline < created + start else "canceled")


def cut(timeline: Timeline, seconds: float, status: str) -> Timeline:
    """End a timeline early with this status."""
    return (*(step for step in timeline if step[0] <= seconds), (seconds, status))


class PredictionStore:
    """Every prediction that was ever created here."""

    def __init__(self, latency_seconds: float) -> None:
        self.latency_seconds = latency_seconds
        self._lock = threading.Lock()
        self._predictions: dict[str, StoredPrediction] = {}  # oldest first

    def create(
        self,
        model: str,
        version: str,
        inputs: dict[str, object],
        script: PredictionScript,
        cancel_after_seconds: float,
    ) -> StoredPrediction:
        now = time.monotonic()
        created = StoredPrediction(
            id=new_id(),
            model=model,
            version=version,
            input=inputs,
            script=script,
            created_at=round(time.time(), 6),  # as exact as what is shown, so that filters meet it
            created_seconds=now,
            timeline=plan(now, script, self.latency_seconds, cancel_after_seconds),
        )
        with self._lock:
            self._predictions[created.id] = created
        return created

    def get(self, prediction_id: str) -> StoredPrediction | None:
        with self._lock:
            return self._predictions.get(prediction_id)

    def cancel(self, prediction: StoredPrediction) -> StoredPrediction:
        with self._lock:
            canceled = self._predictions[prediction.id].canceled(time.monotonic())
            self._predictions[prediction.id] = canceled
            return canceled

    def all(self) -> list[StoredPrediction]:
        """Every prediction, oldest first."""
        with self._lock:
            return list(self._predictions.values())

    def visible(self) -> list[tuple[int, StoredPrediction]]:
        """What the list shows: each with its number, newest first."""
        now = time.monotonic()
        numbered = list(enumerate(self.all()))
        return [each for each in reversed(numbered) if not each[1].is_hidden(now)]


def new_id() -> str:
    """26 lowercase letters and digits, as Replicate's."""
    return base64.b32encode(secrets.token_bytes(17)).decode().lower()[:26]
