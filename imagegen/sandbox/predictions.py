"""The sandbox's predictions.

No thread carries a prediction out: its timeline is decided when it is created, and its state is
read from the timeline at each request.
"""

import base64
import re
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from imagegen.sandbox.faults import PredictionScript

TERMINAL = frozenset({"succeeded", "failed", "canceled", "aborted"})
# A warm model starts a prediction after a share of the latency, but no later than this.
START_SHARE = 0.1
START_SECONDS = 0.2

Timeline = tuple[tuple[float, str], ...]  # each status with the monotonic time of its beginning


@dataclass(frozen=True)
class State:
    """How far a prediction is at one moment; times are on the host's monotonic clock."""

    status: str
    error: str | None
    started_seconds: float | None
    completed_seconds: float | None


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
    source: str = "api"  # web: Replicate's playground

    @property
    def prompt(self) -> str:
        return str(self.input["prompt"])

    @property
    def seed(self) -> int | None:
        return seed_of(self.input)

    def at(self, now: float) -> State:
        past = [step for step in self.timeline if step[0] <= now] or [self.timeline[0]]
        since, status = past[-1]
        started = (seconds for seconds, each in past if each == "processing")
        return State(
            status=status,
            error=self.script.error if status == self.script.status else None,
            started_seconds=next(started, None),
            completed_seconds=since if status in TERMINAL else None,
        )

    def is_hidden(self, now: float) -> bool:
        return now < self.created_seconds + self.script.hidden_seconds

    def unix_time(self, seconds: float) -> float:
        return self.created_at + seconds - self.created_seconds


def seed_of(inputs: Mapping[str, object]) -> int | None:
    """Return the seed of a prediction: the model's, or the number in the text that imagegen sends
    in place of a seed. None if there is neither."""
    seed = inputs.get("seed")
    if isinstance(seed, int):
        return seed
    text = re.fullmatch(r"imagegen-(\d+)", str(inputs.get("user_id")))
    return int(text[1]) if text else None


def plan(
    created: float, script: PredictionScript, latency_seconds: float, cancel_after_seconds: float
) -> Timeline:
    """Return the timeline of a prediction that its owner does not cancel."""
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
    """Every prediction that was created in this sandbox."""

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
        *,
        source: str = "api",
    ) -> StoredPrediction:
        now = time.monotonic()
        created = StoredPrediction(
            # 26 lowercase letters and digits, as in Replicate's ids.
            id=base64.b32encode(secrets.token_bytes(17)).decode().lower()[:26],
            model=model,
            version=version,
            input=inputs,
            script=script,
            created_at=round(time.time(), 6),  # as exact as the JSON, which filters compare with
            created_seconds=now,
            timeline=plan(now, script, self.latency_seconds, cancel_after_seconds),
            source=source,
        )
        with self._lock:
            self._predictions[created.id] = created
        return created

    def get(self, prediction_id: str) -> StoredPrediction | None:
        with self._lock:
            return self._predictions.get(prediction_id)

    def cancel(self, prediction_id: str) -> StoredPrediction:
        """Return the prediction, canceled by its owner unless it has ended."""
        now = time.monotonic()
        with self._lock:
            prediction = self._predictions[prediction_id]
            if prediction.at(now).completed_seconds is None:
                timeline = cut(prediction.timeline, now, "canceled")
                prediction = replace(prediction, timeline=timeline)
                self._predictions[prediction_id] = prediction
            return prediction

    def age(self, seconds: float) -> None:
        """Make every prediction older by `seconds`, by its wall-clock time."""
        with self._lock:
            self._predictions = {
                each.id: replace(each, created_at=round(each.created_at - seconds, 6))
                for each in self._predictions.values()
            }

    def all(self) -> list[StoredPrediction]:
        """Return every prediction, oldest first."""
        with self._lock:
            return list(self._predictions.values())

    def visible(self) -> list[tuple[int, StoredPrediction]]:
        """Return what the list shows: each prediction with its number, newest first."""
        now = time.monotonic()
        numbered = list(enumerate(self.all()))
        return [each for each in reversed(numbered) if not each[1].is_hidden(now)]
