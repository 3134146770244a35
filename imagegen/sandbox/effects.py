"""What a fault does: to the answer of a request (`Reply`), or to a prediction (`Fate`)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from imagegen.sandbox import responses
from imagegen.sandbox.responses import Answer

Manner = Literal["whole", "cut", "drip head", "drip body", "reset", "silence"]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a request gets in place of the plain answer at once."""

    creates: bool = False  # it is carried out all the same: the prediction is made, or canceled
    status: int | None = None  # answered in place of the true one; with no body, the usual one
    body: object = None  # a string as it is, "\udcff" in it as the byte 0xff; all else as JSON
    changes: Mapping[str, object] = field(default_factory=dict)  # to the fields of the true answer
    headers: Mapping[str, str] = field(default_factory=dict)
    late_seconds: float = 0.0
    manner: Manner = "whole"
    over_seconds: float = 0.0  # how long what drips takes

    def __post_init__(self) -> None:
        if not self.creates and self.status is None and self.manner not in ("reset", "silence"):
            raise ValueError("A request that is not carried out needs a status to be answered with")

    def instead(self) -> Answer | None:
        """The answer in place of the true one, if there is one."""
        if self.status is None:
            return None
        usual = responses.usual(self.status)
        if self.body is None:
            return Answer(self.status, usual.body, {**usual.headers, **self.headers})
        if isinstance(self.body, str):
            kind = {"content-type": "text/html; charset=UTF-8"}
            body = self.body.encode(errors="surrogateescape")
            return Answer(self.status, body, {**kind, **self.headers})
        kind = {"content-type": "application/json" if self.status < 400 else responses.PROBLEM}
        return Answer(self.status, json.dumps(self.body).encode(), {**kind, **self.headers})

    def changed(self, true_answer: Answer) -> Answer:
        """The true answer, a JSON object, with other values in it."""
        if not self.changes:
            return true_answer
        value = {**json.loads(true_answer.body), **self.changes}
        return replace(true_answer, body=json.dumps(value).encode())


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What becomes of a prediction."""

    latency_seconds: float | None = None  # from created to completed; None: the sandbox's own
    starts_after_seconds: float | None = None  # as long it is `starting`
    status: str = "succeeded"  # in the end; one that Replicate does not have stays as it is
    error: str | None = None
    output: object = ...  # `...` is its pictures; "{url}" inside stands for the first one's URL
    hidden_seconds: float = 0.0  # as long neither get nor list know of it
