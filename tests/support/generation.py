"""A recipe for one token over a hand-written queue and provider that note what is asked of them."""

import math
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from imagegen.queue.queue import Claim, Closed, Image, Queue
from imagegen.replicate.client import Provider
from imagegen.replicate.replies import (
    Answered,
    Listed,
    NotSent,
    Prediction,
    Rejected,
    Reply,
    Unclear,
)
from imagegen.replicate.request_budget import Budget
from imagegen.worker.create_rate import CreatePace
from imagegen.worker.database_retry import Patience
from imagegen.worker.gate import Gate
from imagegen.worker.generation import Options, Recipe
from imagegen.worker.settlement import Closer

AN_ID = "heat2o3bzn3ahtr6bjfftvbaci"
AN_IMAGE = "https://replicate.delivery/pbxt/9inf/out-0.png"
FALLBACK = "soft colours"
NOW = "2026-01-01T12:00:00.000000Z"
SETTLE_SECONDS = 60.0
GIVE_UP_AFTER_SECONDS = 86_400.0
CANCEL_AFTER_SECONDS = 300.0
CLOSED = Closed(waits_again=True, failed=False, duration_seconds=1.0)

NEW = Claim(
    generation_id=1, token_id=7, attempt=1, fallback=False, model="owner/name", seed=42,
    author_prompt="a cat", wanted=True, previous_kind=None, adopted=False, postponed=False,
    waited_seconds=0.1, opened_seconds_ago=0.0,
)  # fmt: skip


def open_gate() -> Gate:
    """A gate whose pace holds nothing back."""
    return Gate("worker-0", CreatePace(1e9))


def adopted(**known: Any) -> Claim:
    """A claim that another worker left."""
    return replace(NEW, adopted=True, **known)


def sent(seconds_ago: float) -> Claim:
    """A claim whose POST left so long ago, and nobody knows what became of it."""
    return adopted(prompt="a cat", requested_at=NOW, requested_seconds_ago=seconds_ago)


def prediction(status: str, output: object = None, **more: Any) -> Prediction:
    inputs: dict[str, Any] = {"prompt": "a cat", "seed": 42}
    return Prediction(AN_ID, status, output, **inputs | more)


STARTED = Answered(prediction("starting"))
UNCLEAR = Unclear("ReadTimeout")
DONE = Answered(prediction("succeeded", [AN_IMAGE]))
CANCELED = Answered(prediction("canceled"))


# A budget that holds nothing back.
UNLIMITED = Budget(1e9, lambda seconds: None)


@dataclass
class Noted:
    """What happened, in order: a verb with what it was about."""

    happened: list[tuple[Any, ...]] = field(default_factory=list)

    def verbs(self) -> list[str]:
        return [each[0] for each in self.happened]

    def about(self, verb: str) -> list[tuple[Any, ...]]:
        return [each[1:] for each in self.happened if each[0] == verb]


class NotedQueue(Queue):
    """Holds every lease but those that are lost at a verb."""

    def __init__(self, noted: Noted, lost_at: str = "", away: list[Exception] | None = None):
        self._noted = noted
        self._lost_at = lost_at
        self._away = away or []
        self.known: set[str] = set()

    def _note(self, verb: str, *about: object) -> bool:
        """Whether the lease is held."""
        self._noted.happened.append((verb, *about))
        if self._away:
            raise self._away.pop(0)
        return verb != self._lost_at

    def record_request(self, claim: Claim, prompt: str) -> Claim | None:
        known = replace(claim, prompt=prompt, requested_at=NOW, requested_seconds_ago=0.0)
        return known if self._note("record_request", prompt) else None

    def record_prediction(self, claim: Claim, prediction_id: str) -> Claim | None:
        known = replace(claim, prediction_id=prediction_id)
        return known if self._note("record_prediction", prediction_id) else None

    def close_succeeded(self, claim: Claim, image: Image) -> Closed | None:
        return CLOSED if self._note("close_succeeded", image.url) else None

    def close_failed(
        self, claim: Claim, kind: str, message: str, *, max_attempts: int, again_seconds: float
    ) -> Closed | None:
        return CLOSED if self._note("close_failed", str(kind), max_attempts) else None

    def close_refused(
        self, claim: Claim, reason: str, message: str, again_seconds: float, *, blames: bool
    ) -> Closed | None:
        return CLOSED if self._note("close_refused", str(reason), again_seconds) else None

    def close_censored(self, claim: Claim, kind: str, message: str, prompt: str) -> Claim | None:
        following = replace(NEW, generation_id=2, fallback=True, prompt=prompt, seed=43)
        return following if self._note("close_censored", prompt) else None

    def postpone(self, claim: Claim, again_seconds: float) -> Claim | None:
        return claim if self._note("postpone", again_seconds) else None

    def known_predictions(self, prediction_ids: Collection[str]) -> set[str]:
        return self.known


class NotedProvider(Provider):
    """Gives prepared answers, one after the other."""

    def __init__(
        self,
        noted: Noted,
        creates: list[Reply],
        looks: list[Reply],
        listed: Listed | Rejected | NotSent | Unclear,
        canceled: Reply,
    ) -> None:
        self._noted = noted
        self._creates = creates
        self._looks = looks
        self._listed = listed
        self._canceled = canceled

    def create(self, model: str, inputs: dict[str, Any], *, leaves_by: float = math.inf) -> Reply:
        self._noted.happened.append(("POST", model, inputs))
        return self._creates.pop(0)

    def get(self, prediction_id: str) -> Reply:
        self._noted.happened.append(("GET", prediction_id))
        return self._looks.pop(0)

    def cancel(self, prediction_id: str) -> Reply:
        self._noted.happened.append(("cancel", prediction_id))
        return self._canceled

    def list(
        self, since: datetime, *, last_seconds: float
    ) -> Listed | Rejected | NotSent | Unclear:
        self._noted.happened.append(("list", since, last_seconds))
        return self._listed


class NoPace:
    """Looks without waiting."""

    def learn(self, total_seconds: float | None) -> None:
        pass

    def waits(self) -> Iterator[float]:
        while True:
            yield 0.0


def generate(
    claim: Claim = NEW,
    *,
    creates: list[Reply] | None = None,
    looks: list[Reply] | None = None,
    listed: Listed | Rejected | NotSent | Unclear = Listed(()),  # noqa: B008 (it is frozen)
    canceled: Reply = CANCELED,
    lost_at: str = "",
    known: set[str] | None = None,
    away: list[Exception] | None = None,
    replace_lost: bool = False,
    stops: bool = False,
    gate: Gate | None = None,
) -> Noted:
    """Run the recipe for one claim; what happened."""
    noted, handing_over = Noted(), threading.Event()
    if stops:
        handing_over.set()
    patience = Patience(handing_over)
    queue = NotedQueue(noted, lost_at, away)
    queue.known = known or set()
    recipe = Recipe(
        queue=queue,
        provider=NotedProvider(noted, creates or [], looks or [], listed, canceled),
        gate=gate or open_gate(),
        closer=Closer(
            queue,
            fallback_prompt=FALLBACK,
            replace_lost=replace_lost,
            copies=None,
            patience=patience,
        ),
        options=Options(
            model_input={"aspect_ratio": "1:1"},
            marker="seed",
            default_prompt=None,
            settle_seconds=SETTLE_SECONDS,
            give_up_after_seconds=GIVE_UP_AFTER_SECONDS,
            cancel_after_seconds=CANCEL_AFTER_SECONDS,
            http_images=False,
        ),
        patience=patience,
    )
    recipe.run(claim)
    return noted
