"""What becomes of a request or a prediction that a fault hits."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from imagegen.sandbox.faults import PredictionScript as PlainScript
from imagegen.sandbox.responses import PROBLEM, Answer
from tests.support.sandbox.answers import usual

Transport = Literal["whole", "cut", "drip head", "drip body", "reset", "silence"]


@dataclass(frozen=True, kw_only=True)
class ReplyScript:
    """What a request gets in place of the plain answer at once."""

    creates: bool = False  # it is carried out all the same: the prediction is made, or canceled
    status: int | None = None  # answered in place of the true one; with no body, the usual one
    body: object = None  # a string as it is, "\udcff" in it as the byte 0xff; all else as JSON
    changes: Mapping[str, object] = field(default_factory=dict)  # to the fields of the true answer
    headers: Mapping[str, str] = field(default_factory=dict)
    late_seconds: float = 0.0
    transport: Transport = "whole"
    over_seconds: float = 0.0  # how long what drips takes
    lags_seconds: float = 0.0  # a list shows nothing that is younger
    repeats: int = 0  # how many more times something in between sends it; the last is answered

    def __post_init__(self) -> None:
        if not self.creates and self.status is None and self.transport not in ("reset", "silence"):
            raise ValueError("A request that is not carried out needs a status to be answered with")

    def instead(self) -> Answer | None:
        """The answer in place of the true one, if there is one."""
        if self.status is None:
            return None
        if self.body is None:
            plain = usual(self.status)
            return Answer(self.status, plain.body, {**plain.headers, **self.headers})
        if isinstance(self.body, str):
            kind = {"content-type": "text/html; charset=UTF-8"}
            body = self.body.encode(errors="surrogateescape")
            return Answer(self.status, body, {**kind, **self.headers})
        kind = {"content-type": "application/json" if self.status < 400 else PROBLEM}
        return Answer(self.status, json.dumps(self.body).encode(), {**kind, **self.headers})

    def changed(self, true_answer: Answer) -> Answer:
        """The true answer, a JSON object, with other values in it."""
        if not self.changes:
            return true_answer
        value = {**json.loads(true_answer.body), **self.changes}
        return replace(true_answer, body=json.dumps(value).encode())


@dataclass(frozen=True, kw_only=True)
class PredictionScript(PlainScript):
    """What becomes of a prediction, with any output."""

    output: object = ...  # `...` is its images; "{url}" inside stands for the first one's URL
    without: tuple[
        str, ...
    ] = ()  # inputs that are not shown, as of a model that does not take them

    def output_of(self, urls: list[str]) -> object:
        return urls if self.output is ... else filled(self.output, urls[0])


def filled(value: object, url: str) -> object:
    """Return a value with the URL in place of each "{url}" in it."""
    match value:
        case str():
            return value.replace("{url}", url)
        case list() | tuple():
            return [filled(each, url) for each in value]
        case dict():
            return {key: filled(each, url) for key, each in value.items()}
        case _:
            return value
