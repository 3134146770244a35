"""Replicate's API without a socket: from a call to its answer."""

import base64
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from imagegen.sandbox import api_objects, responses
from imagegen.sandbox.faults import PredictionScript
from imagegen.sandbox.placeholder_png import placeholder_png
from imagegen.sandbox.predictions import PredictionStore, StoredPrediction
from imagegen.sandbox.responses import Answer, json_answer

DEFAULT_TOKEN = "sandbox-token"  # noqa: S105, it opens nothing but the sandbox
ROUTES = (
    ("create", "POST", r"/v1/predictions"),
    ("create", "POST", r"/v1/models/([^/]+/[^/]+)/predictions"),
    ("create", "POST", r"/v1/(deployments/[^/]+/[^/]+)/predictions"),
    ("list", "GET", r"/v1/predictions"),
    ("get", "GET", r"/v1/predictions/([^/]+)"),
    ("cancel", "POST", r"/v1/predictions/([^/]+)/cancel"),
    ("file", "GET", r"/files/([^/]+)/out-[0-9]\.png"),
    ("account", "GET", r"/v1/account"),
    ("model", "GET", r"/v1/models/([^/]+/[^/]+)"),
    ("deployment", "GET", r"/v1/deployments/([^/]+/[^/]+)"),
    ("version", "GET", r"/v1/models/([^/]+/[^/]+/versions/[0-9a-f]{64})"),
)
MODEL_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
VERSION = re.compile(r"(?:([^:]+):)?([0-9a-f]{64})")
DURATION = re.compile(r"(?=\d)(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")
TOP_LEVEL = frozenset({"input", "webhook", "webhook_events_filter", "stream"})
SOME_MODEL = "sandbox/some-model"  # stands for the model of a bare version
LONGEST = "30m"  # Replicate ends every prediction after this time
RETENTION_SECONDS = 3600.0  # Replicate removes input and output after an hour
PAGE = 100  # predictions on a page of the list
NOT_YET = float("-inf")  # a moment at which every prediction is starting, however fast it is

# The rest of this second's requests, as the real API reports it.
CREATES_REMAINING = {"ratelimit-remaining": "599", "ratelimit-reset": "1"}
REQUESTS_REMAINING = {"ratelimit-remaining": "2999", "ratelimit-reset": "1"}

Numbered = list[tuple[int, StoredPrediction]]


@dataclass(frozen=True)
class Call:
    """One request: an operation, and the subject that it is about."""

    method: str
    target: str  # path and query
    headers: Mapping[str, str]  # their names are in lower case
    body: bytes
    operation: str
    subject: str  # the prediction, model or version in the path; empty if it names none

    @cached_property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query))

    @cached_property
    def json(self) -> dict[str, Any] | None:
        """The body, or None if it is not a JSON object."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None


def read_call(method: str, target: str, headers: Mapping[str, str], body: bytes) -> Call:
    path = unquote(urlsplit(target).path)
    operation, subject = "unknown", ""
    for route_operation, route_method, pattern in ROUTES:
        if match := re.fullmatch(pattern, path):
            if route_method == method:
                operation, subject = route_operation, "".join(match.groups())
                break
            operation = "wrong method"
    lower = {name.lower(): value for name, value in headers.items()}
    return Call(method, target, lower, body, operation, subject)


class Api:
    """Replicate's endpoints over the sandbox's predictions."""

    def __init__(
        self,
        base_url: str,
        store: PredictionStore,
        take_script: Callable[[str], PredictionScript],
        *,
        retention_seconds: float = RETENTION_SECONDS,
    ) -> None:
        """`take_script` returns the script of a new prediction, by its prompt."""
        self.api_token = DEFAULT_TOKEN
        self._base_url = base_url
        self._store = store
        self._take_script = take_script
        self._retention_seconds = retention_seconds

    def answer(self, call: Call) -> Answer:
        """Carry out a call, and return the answer."""
        if call.operation == "file":
            return self._file(call)
        if call.headers.get("authorization") != f"Bearer {self.api_token}":
            return responses.UNAUTHENTICATED
        match call.operation:
            case "create":
                return self.create(call)
            case "list":
                return self._list(call)
            case "get" | "cancel":
                return self._get_or_cancel(call)
            case "account":
                return json_answer(api_objects.ACCOUNT, headers=REQUESTS_REMAINING)
            case "model" | "version" | "deployment":
                return self._model_or_version(call)
            case "wrong method":
                return responses.method_not_allowed(call.method)
        return responses.NOT_FOUND

    def has_model(self, model: str) -> bool:
        return MODEL_NAME.fullmatch(model) is not None

    def create(self, call: Call) -> Answer:
        if refusal := body_refusal(call):
            return refusal
        body = call.json or {}
        if call.subject:
            model, version = call.subject.removeprefix("deployments/"), "hidden"
            unknown = responses.NOT_FOUND
        else:
            model, version = model_and_version(body["version"])
            unknown = responses.UNKNOWN_VERSION
        if not self.has_model(model):
            return unknown
        inputs = body["input"]
        if problems := api_objects.input_problems(model, inputs):
            return responses.invalid_input(problems)
        cancel_after = duration_seconds(call.headers.get("cancel-after", LONGEST))
        if cancel_after is None:
            return responses.problem(422, "Cancel-After is not a duration")
        script = self._take_script(inputs["prompt"])
        created = self._store.create(model, version, inputs, script, cancel_after)
        return json_answer(self._show(created, NOT_YET), status=201, headers=CREATES_REMAINING)

    def _get_or_cancel(self, call: Call) -> Answer:
        stored, now = self._store.get(call.subject), time.monotonic()
        if stored is None or stored.is_hidden(now):
            return responses.NOT_FOUND
        if call.operation == "cancel":
            stored = self._store.cancel(stored.id)
        return json_answer(self._show(stored, time.monotonic()), headers=REQUESTS_REMAINING)

    def _list(self, call: Call) -> Answer:
        try:
            listed = in_period(self._store.visible(), call.query)
            older, newer = split(listed, call.query.get("cursor"))
        except ValueError:
            return responses.problem(400, "Not a cursor or a time in ISO 8601")
        now, page = time.monotonic(), older[:PAGE]
        results = [self._show(prediction, now) for _, prediction in page]
        for item in results:
            del item["logs"]

        def link(way: str, edge: int) -> str:
            cursor = base64.urlsafe_b64encode(f"{way}={edge}".encode()).decode()
            query = urlencode({**call.query, "cursor": cursor})
            return f"{self._base_url}/v1/predictions?{query}"

        value = {
            "next": link("older", page[-1][0]) if len(older) > PAGE else None,
            "previous": link("newer", page[0][0]) if newer and page else None,
            "results": results,
        }
        return json_answer(value, headers=REQUESTS_REMAINING)

    def _model_or_version(self, call: Call) -> Answer:
        model, _, version = call.subject.partition("/versions/")
        if not self.has_model(model):
            return responses.NOT_FOUND
        if call.operation == "deployment":
            value = api_objects.deployment_json(model)
        elif version:
            value = api_objects.version_json(model, version)
        else:
            value = api_objects.model_json(model)
        return json_answer(value, headers=REQUESTS_REMAINING)

    def _file(self, call: Call) -> Answer:
        stored, now = self._store.get(call.subject), time.monotonic()
        if stored is None or (state := stored.at(now)).status != "succeeded":
            return responses.NOT_FOUND
        if api_objects.is_removed(state, now, self._retention_seconds):
            return responses.NOT_FOUND
        index = int(call.target.rpartition("-")[2][0])
        image = placeholder_png(stored.prompt, stored.seed, index)
        headers = {"content-type": "image/png", "cache-control": "public, max-age=3600"}
        return Answer(200, image, headers)

    def _show(self, stored: StoredPrediction, now: float) -> dict[str, Any]:
        return api_objects.prediction_json(stored, now, self._base_url, self._retention_seconds)


def body_refusal(call: Call) -> Answer | None:
    """Return the refusal of a body that is wrong for every model; None if it is right."""
    body = call.json
    if body is None:
        return responses.problem(400, "JSON parse error")
    required = {"input"} if call.subject else {"input", "version"}
    problems = [
        ("additional_property_not_allowed", "", f"Additional property {name} is not allowed")
        for name in sorted(body.keys() - TOP_LEVEL - required)
    ]
    problems += [("required", "", f"{name} is required") for name in sorted(required - body.keys())]
    if not isinstance(body.get("input", {}), dict):
        problems.append(("invalid_type", "input", "Invalid type. Expected: object"))
    return responses.invalid_input(problems) if problems else None


def model_and_version(text: object) -> tuple[str, str]:
    """Split `owner/name`, `owner/name:version` or a bare version."""
    if match := VERSION.fullmatch(str(text)):
        return match[1] or SOME_MODEL, match[2]
    return str(text), "hidden"


def duration_seconds(text: str) -> int | None:
    """Return the seconds in 30, 30s, 5m, 2h or 1m30s; None for any other text.

    Replicate allows 5 s to 24 h. The sandbox allows shorter times too.
    """
    match = DURATION.fullmatch(text.strip())
    if match is None:
        return None
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return 3600 * hours + 60 * minutes + seconds


def in_period(newest_first: Numbered, query: dict[str, str]) -> Numbered:
    """Return the predictions of the period that a query asks for. Raises ValueError."""
    after = unix_time(query.get("created_after", "1970-01-01"))
    before = unix_time(query.get("created_before", "9999-12-31"))
    return [each for each in newest_first if after <= each[1].created_at < before]


def unix_time(text: str) -> float:
    """Return a time in ISO 8601, in UTC if it names no zone."""
    when = datetime.fromisoformat(text)
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def split(newest_first: Numbered, cursor: str | None) -> tuple[Numbered, Numbered]:
    """Return the predictions on this page or older, and those newer. Raises ValueError.

    A cursor names the prediction at the edge of a page, not a count. So new predictions do not move
    a page.
    """
    if cursor is None:
        return newest_first, []
    way, _, text = base64.urlsafe_b64decode(cursor).decode().partition("=")
    edge = int(text)
    if way == "older":
        first = sum(number >= edge for number, _ in newest_first)
    else:
        first = max(sum(number > edge for number, _ in newest_first) - PAGE, 0)
    return newest_first[first:], newest_first[:first]
