"""Claims, predictions and replies for the runs of `generation_runs.py`."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from imagegen.queue import (
    Applied,
    Claim,
)
from imagegen.replicate.replies import (
    Answered,
    Listed,
    NoAnswer,
    Prediction,
)

AN_ID = "heat2o3bzn3ahtr6bjfftvbaci"
AN_IMAGE = "https://replicate.delivery/pbxt/9inf/out-0.png"
NOW = "2026-01-01T12:00:00.000000Z"
APPLIED = Applied(waits_again=True, failed=False, duration_seconds=1.0)
NEW = Claim(
    generation_id=1, token_id=7, attempt=1, fallback=False, model="owner/name", seed=42,
    author_prompt="a cat", wanted=True, adopted=False, postponed=False, waited_seconds=0.1,
    opened_seconds_ago=0.0,
)  # fmt: skip


def adopted(**known: Any) -> Claim:
    """A claim that another worker left."""
    return replace(NEW, adopted=True, **known)


def adopted_after(seconds: float) -> Claim:
    """Return an adopted claim whose prediction was requested `seconds` ago."""
    return adopted(
        prompt="a cat", prediction_id=AN_ID, requested_at=NOW, requested_seconds_ago=seconds
    )


def sent(seconds_ago: float) -> Claim:
    """Return an adopted claim whose POST left `seconds_ago` and has no answer."""
    return adopted(prompt="a cat", requested_at=NOW, requested_seconds_ago=seconds_ago)


def prediction(status: str, output: object = None, **more: Any) -> Prediction:
    inputs: dict[str, Any] = {"prompt": "a cat", "seed": 42}
    return Prediction(AN_ID, status, output, **inputs | more)


# A list that reaches to this moment: it holds what somebody else has just made.
LISTED_AT = datetime.fromisoformat(NOW)
A_LATER_ONE = Listed((Prediction("another0", "starting", created_at=LISTED_AT),), sent_at=LISTED_AT)
STARTED = Answered(prediction("starting"))
UNCLEAR = NoAnswer("ReadTimeout")
DONE = Answered(prediction("succeeded", [AN_IMAGE]))
CANCELED = Answered(prediction("canceled"))
