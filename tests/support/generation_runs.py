"""A generation over a hand-written queue and client that note what is asked of them."""

import math
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from imagegen.queue import (
    Applied,
    Claim,
    Complete,
    Decision,
    FailAttempt,
    History,
    Postpone,
    Queue,
    Requeue,
    UseFallback,
)
from imagegen.replicate.client import ReplicateClient
from imagegen.replicate.list_page import Since
from imagegen.replicate.replies import (
    Listed,
    NoAnswer,
    NotSent,
    Rejected,
    Reply,
)
from imagegen.replicate.request_budget import RequestBudget
from imagegen.worker.create_rate import CreateRate
from imagegen.worker.database_retry import DatabaseRetry
from imagegen.worker.gate import Gate
from imagegen.worker.generation import GenerationRunner
from imagegen.worker.image_copies import ImageCopies
from imagegen.worker.marker_seen import MarkerSeen
from tests.support.generation_claims import APPLIED, CANCELED, NEW, NOW
from tests.support.settings import settings

FALLBACK = "soft colours"
SETTLE_SECONDS = 60.0
GIVE_UP_AFTER_SECONDS = 86_400.0
CANCEL_AFTER_SECONDS = 300.0


def open_gate() -> Gate:
    """A gate whose pace holds nothing back."""
    return Gate("worker-0", CreateRate(1e9))


# A budget that holds nothing back.
UNLIMITED = RequestBudget(1e9, lambda seconds: None)


@dataclass
class Calls:
    """What happened, in order: a verb with what it was about."""

    happened: list[tuple[Any, ...]] = field(default_factory=list)

    def verbs(self) -> list[str]:
        return [each[0] for each in self.happened]

    def about(self, verb: str) -> list[tuple[Any, ...]]:
        return [each[1:] for each in self.happened if each[0] == verb]


class RecordingQueue(Queue):
    """Holds every lease but those that are lost at a verb."""

    def __init__(self, calls: Calls, lost_at: str = "", away: list[Exception] | None = None):
        self._noted = calls
        self._lost_at = lost_at
        self._away = away or []
        self.known: set[str] = set()
        self.before = History()

    def _note(self, verb: str, *about: object) -> bool:
        """Whether the lease is held."""
        self._noted.happened.append((verb, *about))
        if self._away:
            raise self._away.pop(0)
        return verb != self._lost_at

    def record_request(
        self, claim: Claim, *, prompt: str, model: str, account: str | None
    ) -> Claim | None:
        known = replace(
            claim, prompt=prompt, model=model, account=account, requested_at=NOW,
            requested_seconds_ago=0.0,
        )  # fmt: skip
        return known if self._note("record_request", prompt) else None

    def record_found(
        self,
        claim: Claim,
        prediction_id: str,
        *,
        prompt: str,
        account: str | None,
        made_at: datetime | None,
    ) -> Claim | None:
        known = replace(claim, prompt=prompt, prediction_id=prediction_id, requested_at=NOW)
        return known if self._note("record_found", prediction_id) else None

    def record_prediction(self, claim: Claim, prediction_id: str) -> Claim | None:
        known = replace(claim, prediction_id=prediction_id)
        return known if self._note("record_prediction", prediction_id) else None

    def apply(self, claim: Claim, decision: Decision) -> Applied | None:
        match decision:
            case Complete(url=url, handed_on=better):
                return APPLIED if self._note("complete", better or url) else None
            case FailAttempt(kind, _, token_fails):
                ending = "failed" if token_fails else "waits"
                return APPLIED if self._note("fail_attempt", str(kind), ending) else None
            case Requeue(reason, _, retry_seconds):
                return APPLIED if self._note("requeue", str(reason), retry_seconds) else None
            case UseFallback(fallback_prompt=prompt):
                following = replace(NEW, generation_id=2, fallback=True, prompt=prompt, seed=43)
                held = self._note("use_fallback", prompt)
                return replace(APPLIED, fallback=following) if held else None
            case Postpone(retry_seconds):
                return APPLIED if self._note("postpone", retry_seconds) else None

    def keep(self, claim: Claim, decision: Decision, why: str) -> Applied | None:
        kept = Applied(refused_because=why, retry_seconds=15.0)
        return kept if self._note("keep", decision, why) else None

    def hasten_closings(self) -> None:
        self._note("hasten_closings")

    def renew(self, token_ids: Collection[int]) -> None:
        self._note("renew")

    def history(self, claim: Claim) -> History | None:
        return self.before

    def known_predictions(self, claim: Claim, prediction_ids: Collection[str]) -> set[str]:
        return self.known

    def record_duplicate(
        self,
        claim: Claim,
        prediction_id: str,
        *,
        status: str,
        account: str | None,
        made_at: datetime | None,
    ) -> str | None:
        return prediction_id if self._note("record_duplicate", prediction_id) else None


class ScriptedClient(ReplicateClient):
    """Gives prepared answers, one after the other."""

    def __init__(
        self,
        calls: Calls,
        *,
        creates: list[Reply],
        looks: list[Reply],
        listed: Listed,
        canceled: Reply,
        account: str | None,
    ) -> None:
        self._noted = calls
        self._creates = creates
        self._looks = looks
        self._listed = listed
        self._canceled = canceled
        self._account = account

    def account(self) -> str | None:
        return self._account

    def create(self, model: str, inputs: dict[str, Any], *, send_by: float = math.inf) -> Reply:
        self._noted.happened.append(("POST", model, inputs))
        return self._creates.pop(0)

    def get(self, prediction_id: str) -> Reply:
        self._noted.happened.append(("GET", prediction_id))
        return self._looks.pop(0)

    def cancel(self, prediction_id: str) -> Reply:
        self._noted.happened.append(("cancel", prediction_id))
        return self._canceled

    def list(self, *since: Since) -> Listed:
        self._noted.happened.append(("list", *since))
        return self._listed


class NoWaits:
    """A schedule that polls without waiting."""

    def __init__(self, polls_per_second: float) -> None:
        pass

    def learn(self, total_seconds: float | None, predict_seconds: float | None) -> None:
        pass

    def learn_round_trip(self, seconds: float) -> None:
        pass

    def wait_seconds(self, age_seconds: float) -> float:
        return 0.0


def generate(
    claim: Claim = NEW,
    *,
    creates: list[Reply] | None = None,
    looks: list[Reply] | None = None,
    listed: Listed | Rejected | NotSent | NoAnswer = Listed(()),  # noqa: B008 (it is frozen)
    canceled: Reply = CANCELED,
    account: str | None = None,
    marker_input: str | None = "seed",
    lost_at: str = "",
    known: set[str] | None = None,
    before: History | None = None,
    away: list[Exception] | None = None,
    replace_lost: bool = False,
    stops: bool = False,
    gate: Gate | None = None,
    copies: ImageCopies | None = None,
    image_url_base: str | None = None,
    queue: Callable[[Calls], "RecordingQueue"] | None = None,
    marker_seen: MarkerSeen | None = None,
) -> Calls:
    """Run the generation of one claim; what happened."""
    calls, shutdown = Calls(), threading.Event()
    if stops:
        shutdown.set()
    retry = DatabaseRetry(shutdown)
    recorder = queue(calls) if queue else RecordingQueue(calls, lost_at, away)
    recorder.known = known or set()
    recorder.before = before or History()
    chosen = settings(
        model="owner/name",
        model_input={"aspect_ratio": "1:1"},
        marker_input=marker_input,
        fallback_prompt=FALLBACK,
        replace_lost=replace_lost,
        image_url_base=image_url_base,
        settle_seconds=SETTLE_SECONDS,
        give_up_after_seconds=GIVE_UP_AFTER_SECONDS,
        cancel_after_seconds=int(CANCEL_AFTER_SECONDS),
    )
    if not isinstance(listed, Listed):
        listed = Listed((), missing=listed)
    client = ScriptedClient(
        calls,
        creates=creates or [],
        looks=looks or [],
        listed=listed,
        canceled=canceled,
        account=account,
    )
    runner = GenerationRunner(
        chosen,
        queue=recorder,
        client=client,
        gate=gate or open_gate(),
        retry=retry,
        copies=copies,
        marker_seen=marker_seen,
    )
    runner.run(claim)
    return calls
