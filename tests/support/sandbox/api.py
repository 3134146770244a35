"""The product's sandbox API, for an account with chosen models and a rate limit on creating."""

import math
import threading
import time
from dataclasses import replace
from typing import Any

from imagegen.sandbox.api import SOME_MODEL, Api, Call
from imagegen.sandbox.predictions import PredictionStore, StoredPrediction, seed_of
from imagegen.sandbox.responses import Answer
from tests.support.sandbox.answers import throttled
from tests.support.sandbox.faults import Faults
from tests.support.sandbox.scripts import PredictionScript


class CreateLimit:
    """A bucket of `burst` creates that refills by `per_minute`."""

    def __init__(self, per_minute: int, burst: int) -> None:
        self.per_minute = per_minute
        self.burst = burst
        self._available = float(burst)
        self._filled_at = time.monotonic()
        self._lock = threading.Lock()

    def seconds_to_wait(self) -> int:
        """Take one create out of the bucket, or return in how many seconds there will be one."""
        per_second = self.per_minute / 60
        with self._lock:
            now = time.monotonic()
            refilled = self._available + (now - self._filled_at) * per_second
            self._available = min(self.burst, refilled)
            self._filled_at = now
            if self._available >= 1:
                self._available -= 1
                return 0
            return math.ceil((1 - self._available) / per_second)

    def headers(self) -> dict[str, str]:
        """What Replicate's answers show: how many more there are, and the seconds until it is full
        again, as with a limit of 600 after one create: 599, and 1."""
        with self._lock:
            full_seconds = (self.burst - self._available) / self.per_minute * 60
            remaining = int(self._available)
        reset = max(math.ceil(full_seconds), 1)
        return {"ratelimit-remaining": str(remaining), "ratelimit-reset": str(reset)}


class AccountApi(Api):
    """Replicate's endpoints, as one account sees them."""

    def __init__(
        self,
        base_url: str,
        store: PredictionStore,
        faults: Faults,
        *,
        models: set[str] | None,
        limit: CreateLimit | None,
        retention_seconds: float,
    ) -> None:
        super().__init__(base_url, store, faults.take_script, retention_seconds=retention_seconds)
        self._models = models
        self._limit = limit

    def create(self, call: Call) -> Answer:
        if self._limit and (wait := self._limit.seconds_to_wait()):
            return throttled(wait, self._limit.per_minute, self._limit.burst)
        answer = super().create(call)
        if self._limit and answer.status == 201:
            answer = replace(answer, headers={**answer.headers, **self._limit.headers()})
        return answer

    def _show(self, stored: StoredPrediction, now: float) -> dict[str, Any]:
        value = super()._show(stored, now)
        script = stored.script
        without = script.without if isinstance(script, PredictionScript) else ()
        kept = {name: given for name, given in value["input"].items() if name not in without}
        return value | {"input": kept}

    def has_model(self, model: str) -> bool:
        if self._models is not None and model != SOME_MODEL:
            return model in self._models
        return super().has_model(model)


def prompt_and_seed(call: Call, store: PredictionStore) -> tuple[str | None, int | None]:
    """The prompt and seed that a call is about."""
    if call.operation == "create":
        inputs = (call.json or {}).get("input")
    else:
        stored = store.get(call.subject)
        inputs = stored.input if stored else None
    if not isinstance(inputs, dict):
        return None, None
    prompt = inputs.get("prompt")
    return prompt if isinstance(prompt, str) else None, seed_of(inputs)
