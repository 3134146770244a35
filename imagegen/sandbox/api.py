"""What Replicate's API answers: from a call to an answer, without a socket."""

import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from imagegen.sandbox import api_objects, pages, responses
from imagegen.sandbox.calls import Call
from imagegen.sandbox.faults import Faults
from imagegen.sandbox.limits import CreateLimit
from imagegen.sandbox.placeholder_png import picture
from imagegen.sandbox.predictions import Order, PredictionStore
from imagegen.sandbox.responses import Answer, json_answer

MODEL_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
VERSION = re.compile(r"(?:([^:]+):)?([0-9a-f]{64})")
DURATION = re.compile(r"(?=\d)(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")
TOP_LEVEL = frozenset({"input", "webhook", "webhook_events_filter", "stream"})
SOME_MODEL = "sandbox/some-model"  # a bare version does not tell its model
LONGEST_SECONDS = 30 * 60  # Replicate ends every prediction after 30 minutes
NOT_YET = float("-inf")  # before anything has happened to a prediction, however short its course

# What the real API says is left of this second's requests.
CREATES_LEFT = {"ratelimit-remaining": "599", "ratelimit-reset": "1"}
REQUESTS_LEFT = {"ratelimit-remaining": "2999", "ratelimit-reset": "1"}


class Api:
    """Replicate's endpoints over the sandbox's state."""

    def __init__(
        self,
        *,
        base_url: str,
        token: str,
        models: set[str] | None,
        retention_seconds: float,
        store: PredictionStore,
        faults: Faults,
        limit: CreateLimit | None,
    ) -> None:
        self._base_url = base_url
        self._authorization = f"Bearer {token}"
        self._models = models
        self._retention_seconds = retention_seconds
        self._store = store
        self._faults = faults
        self._limit = limit
        self._endpoints: dict[str, Callable[[Call], Answer]] = {
            "create": self._create,
            "get": self._get,
            "list": self._list,
            "cancel": self._cancel,
            "account": lambda _: json_answer(api_objects.ACCOUNT, headers=REQUESTS_LEFT),
            "model": self._model,
            "version": self._version,
            "wrong method": lambda call: responses.method_not_allowed(call.method),
            "unknown": lambda _: responses.NOT_FOUND,
        }

    def about(self, call: Call) -> tuple[str | None, int | None]:
        """The prompt and seed that a call is about."""
        if call.operation == "create":
            inputs = (call.json or {}).get("input")
        else:
            order = self._store.get(call.named)
            inputs = order.input if order else None
        if not isinstance(inputs, dict):
            return None, None
        prompt, seed = inputs.get("prompt"), inputs.get("seed")
        return (
            prompt if isinstance(prompt, str) else None,
            seed if isinstance(seed, int) else None,
        )

    def answer(self, call: Call) -> Answer:
        """Carry out a call."""
        if call.operation == "file":
            return self._file(call)
        if call.headers.get("authorization") != self._authorization:
            return responses.UNAUTHENTICATED
        return self._endpoints[call.operation](call)

    def _create(self, call: Call) -> Answer:
        if self._limit and (wait := self._limit.seconds_to_wait()):
            return responses.throttled(wait, self._limit.per_minute, self._limit.burst)
        if refusal := refused(call):
            return refusal
        body = call.json or {}
        if call.named:
            model, version, unknown = call.named, "hidden", responses.NOT_FOUND
        else:
            model, version = model_and_version(body["version"])
            unknown = responses.UNKNOWN_VERSION
        if not self._knows(model):
            return unknown
        inputs = body["input"]
        if problems := api_objects.input_problems(model, inputs):
            return responses.invalid_input(problems)
        cancel_after = duration_seconds(call.headers.get("cancel-after", str(LONGEST_SECONDS)))
        if cancel_after is None:
            return responses.problem(422, "Cancel-After is not a duration")
        fate = self._faults.take_fate(inputs["prompt"])
        order = self._store.create(model, version, inputs, fate, cancel_after)
        return json_answer(
            self._show(order, NOT_YET),
            status=201,
            headers=CREATES_LEFT,
            prediction_id=order.id,
        )

    def _get(self, call: Call) -> Answer:
        order = self._find(call)
        return self._answer_with(order) if order else responses.NOT_FOUND

    def _cancel(self, call: Call) -> Answer:
        order = self._find(call)
        return self._answer_with(self._store.cancel(order)) if order else responses.NOT_FOUND

    def _list(self, call: Call) -> Answer:
        try:
            page = pages.page(self._store.visible(), call.query)
        except ValueError:
            return responses.problem(400, "Not a cursor or a time in ISO 8601")
        now = time.monotonic()
        results = [self._show(order, now) for order in page.orders]
        for item in results:
            del item["logs"]

        def link(cursor: str | None) -> str | None:
            if cursor is None:
                return None
            return f"{self._base_url}/v1/predictions?{urlencode({**call.query, 'cursor': cursor})}"

        value = {"next": link(page.next), "previous": link(page.previous), "results": results}
        return json_answer(value, headers=REQUESTS_LEFT)

    def _model(self, call: Call) -> Answer:
        if not self._knows(call.named):
            return responses.NOT_FOUND
        return json_answer(api_objects.model_json(call.named), headers=REQUESTS_LEFT)

    def _version(self, call: Call) -> Answer:
        model, _, version = call.named.partition("/versions/")
        if not self._knows(model):
            return responses.NOT_FOUND
        return json_answer(api_objects.version_json(model, version), headers=REQUESTS_LEFT)

    def _file(self, call: Call) -> Answer:
        order = self._store.get(call.named)
        if order is None:
            return responses.NOT_FOUND
        now = time.monotonic()
        seen = order.at(now)
        if seen.status != "succeeded" or api_objects.is_removed(seen, now, self._retention_seconds):
            return responses.NOT_FOUND
        index = int(call.target.rpartition("-")[2][0])
        headers = {"content-type": "image/png", "cache-control": "public, max-age=3600"}
        return Answer(200, picture(seen.prompt, seen.seed, index), headers, order.id)

    def _find(self, call: Call) -> Order | None:
        order = self._store.get(call.named)
        return None if order is None or order.is_hidden(time.monotonic()) else order

    def _answer_with(self, order: Order) -> Answer:
        value = self._show(order, time.monotonic())
        return json_answer(value, headers=REQUESTS_LEFT, prediction_id=order.id)

    def _show(self, order: Order, now: float) -> dict[str, Any]:
        return api_objects.prediction_json(order, now, self._base_url, self._retention_seconds)

    def _knows(self, model: str) -> bool:
        if self._models is not None and model != SOME_MODEL:
            return model in self._models
        return MODEL_NAME.fullmatch(model) is not None


def refused(call: Call) -> Answer | None:
    """What is wrong with the body of a create, whatever the model."""
    body = call.json
    if body is None:
        return responses.problem(400, "JSON parse error")
    required = {"input"} if call.named else {"input", "version"}
    problems = [
        ("additional_property_not_allowed", "", f"Additional property {name} is not allowed")
        for name in sorted(body.keys() - TOP_LEVEL - required)
    ]
    problems += [("required", "", f"{name} is required") for name in sorted(required - body.keys())]
    if not isinstance(body.get("input", {}), dict):
        problems.append(("invalid_type", "input", "Invalid type. Expected: object"))
    return responses.invalid_input(problems) if problems else None


def model_and_version(text: object) -> tuple[str, str]:
    """The two that `owner/name`, `owner/name:version` or a bare version means."""
    if match := VERSION.fullmatch(str(text)):
        return match[1] or SOME_MODEL, match[2]
    return str(text), "hidden"


def duration_seconds(text: str) -> int | None:
    """Seconds in 30, 30s, 5m, 2h or 1m30s. Replicate wants 5 s to 24 h; here 1 s will do too."""
    match = DURATION.fullmatch(text.strip())
    if match is None:
        return None
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return 3600 * hours + 60 * minutes + seconds
