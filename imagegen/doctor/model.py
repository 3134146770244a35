"""Checks of the model: that it exists, and takes the inputs that imagegen sends."""

import re
from collections import ChainMap
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from imagegen.config import WITHOUT_MARKER, Settings
from imagegen.doctor.model_output import judge_output
from imagegen.doctor.replicate import ACCOUNT_PATH, NoAnswerError, ask, judge_account
from imagegen.doctor.report import Findings, Level, ok, warning, wrong
from imagegen.replicate import Marker, facts

# The names of inputs that a model passes on to its provider to distinguish users.
NAMES_USER = re.compile(r"(end_?)?user(_?id)?", re.IGNORECASE)
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


@dataclass(frozen=True)
class Input:
    """One input of a model. A field is None if the schema does not have it."""

    type: str | None = None
    choices: tuple[Any, ...] | None = None
    least: float | None = None
    most: float | None = None

    def violation(self, value: object) -> str | None:
        """Return what this input must be, if it cannot have the value; None if it can."""
        if self.choices is not None and value not in self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        allowed = TYPES.get(self.type or "")
        is_boolean = isinstance(value, bool)
        if allowed and (not isinstance(value, allowed) or (is_boolean and bool not in allowed)):
            return f"a value of type {self.type}"
        if isinstance(value, int | float) and not is_boolean:
            if self.least is not None and value < self.least:
                return f"at least {self.least:g}"
            if self.most is not None and value > self.most:
                return f"at most {self.most:g}"
        return None


@dataclass(frozen=True)
class Inputs:
    """All inputs of a model, and the names of the required ones."""

    by_name: Mapping[str, Input]
    required: frozenset[str]


def check_model(settings: Settings) -> Findings:
    """Check the model, its version if one is named, then its inputs."""
    name, _, version = settings.model.partition(":")
    if facts.VERSION_ID.fullmatch(name):
        message = "not checked: Replicate tells nothing of a version without its model"
        yield warning("model", message, f"REPLICATE_MODEL_VERSION=owner/name:{name}")
        return
    try:
        account = judge_account(ask(settings, ACCOUNT_PATH))
        if account.level is not Level.OK:  # without the account, answers about models mean nothing
            yield warning("model", f"not checked: {account.message}")
            return
        if name.startswith(facts.DEPLOYMENT):
            yield from _check_deployment(settings)
            return
        path = f"/models/{quote(name)}"
        model = ask(settings, path)
        pinned = ask(settings, f"{path}/versions/{version}") if version else None
    except NoAnswerError as error:
        yield warning("model", f"not checked: no answer: {error}")
        return
    latest = _object(model.body.get("latest_version"))
    if model.status == 404:
        fix = f"name another in REPLICATE_MODEL_VERSION: {facts.MODELS_PAGE}"
        yield wrong("model", f"Replicate knows no model {name}", fix)
    elif model.status != 200 or (pinned and pinned.status not in {200, 404}):
        yield warning("model", f"not checked: HTTP {(pinned or model).status}")
    elif pinned and pinned.status == 404:
        fix = f"REPLICATE_MODEL_VERSION={name}:{latest.get('id')}, the latest"
        yield wrong("model", f"{name} has no version {version}", fix)
    elif not pinned and model.body.get("is_official") is False:
        fix = f"REPLICATE_MODEL_VERSION={name}:{latest.get('id')}, the latest"
        yield wrong("model", f"{name} is no official model: it needs a version", fix)
    else:
        yield ok("model", f"{settings.model} is there")
        yield from _judge_schema(settings, pinned.body if pinned else latest, model.body)


def _check_deployment(settings: Settings) -> Findings:
    """Check a deployment, then the inputs of the version that it runs. Raises NoAnswerError."""
    deployment = ask(settings, f"/{quote(settings.model)}")
    release = _object(deployment.body.get("current_release"))
    if deployment.status == 404:
        fix = f"name another in REPLICATE_MODEL_VERSION: {facts.DEPLOYMENTS_PAGE}"
        yield wrong("model", f"the account has no {settings.model}", fix)
        return
    if deployment.status != 200:
        yield warning("model", f"not checked: HTTP {deployment.status}")
        return
    model, version = release.get("model"), release.get("version")
    yield ok("model", f"{settings.model} is there, and runs {model}")
    path = f"/models/{quote(str(model))}/versions/{quote(str(version))}"
    yield from _judge_schema(settings, ask(settings, path).body, {})


def _judge_schema(
    settings: Settings, version: Mapping[str, Any], model_body: Mapping[str, Any]
) -> Findings:
    inputs = parse_inputs(version.get("openapi_schema"))
    if inputs is None:
        yield warning("inputs", "not checked: Replicate does not tell them of this model")
    else:
        marker = Marker.of_setting(settings.marker_input)
        yield from judge(inputs, settings.model_input, marker)
    yield from judge_output(version, model_body)


def judge(inputs: Inputs, model_input: Mapping[str, Any], marker: Marker | None) -> Findings:
    """Compare the inputs that imagegen sends with the model's."""
    problems = list(_problems(inputs, model_input, marker))
    yield from problems
    if not problems:
        sent = ", ".join(["prompt", *([marker.name] if marker else []), *model_input])
        yield ok("inputs", f"the model takes {sent}")
        if marker is None:
            proposed = _proposed_marker(inputs, model_input)
            fix = f"IMAGEGEN_MARKER_INPUT={proposed}" if proposed != "none" else None
            yield warning("marker", WITHOUT_MARKER, fix)


def _proposed_marker(inputs: Inputs, taken: Collection[str]) -> str:
    """Return a setting of the marker that suits the model, from inputs that are not `taken`."""
    free = {name: each for name, each in inputs.by_name.items() if name not in taken}
    for name, each in free.items():
        if "seed" in name.lower() and each.violation(facts.LARGEST_SEED) is None:
            return name if name.lower().endswith("seed") else f"{name}:integer"
    for name, each in free.items():
        if NAMES_USER.fullmatch(name) and each.type == "string" and each.choices is None:
            return name
    return "none"


def _problems(inputs: Inputs, model_input: Mapping[str, Any], marker: Marker | None) -> Findings:
    known = inputs.by_name
    marker_name = marker.name if marker else None
    if "prompt" not in known:
        fix = "name a model that makes images of a text in REPLICATE_MODEL_VERSION"
        yield wrong("inputs", "the model has no input prompt", fix)
    if marker and marker.name not in known:
        message = f"the model has no input {marker.name} to know a prediction by"
        fix = f"IMAGEGEN_MARKER_INPUT={_proposed_marker(inputs, model_input)}"
        yield wrong("inputs", message, fix)
    elif marker and (must := known[marker.name].violation(marker.value(facts.LARGEST_SEED))):
        values = "texts" if marker.is_text else f"numbers up to {facts.LARGEST_SEED}"
        message = f"{marker.name} must be {must}, but imagegen puts {values} there"
        proposed = _proposed_marker(inputs, {marker.name, *model_input})
        yield wrong("inputs", message, f"IMAGEGEN_MARKER_INPUT={proposed}")
    for name, value in model_input.items():
        if name not in known:
            others = ", ".join(sorted(known.keys() - {"prompt", marker_name}))
            fix = f"IMAGEGEN_MODEL_INPUT may have {others or 'nothing'}"
            yield wrong("inputs", f"the model has no input {name}", fix)
        elif must := known[name].violation(value):
            message = f"{name} must be {must}, not {value!r}"
            yield wrong("inputs", message, "put it right in IMAGEGEN_MODEL_INPUT")
    for name in sorted(inputs.required - {"prompt", marker_name} - model_input.keys()):
        yield wrong("inputs", f"the model needs {name}", "add it to IMAGEGEN_MODEL_INPUT")


def parse_inputs(schema: object) -> Inputs | None:
    """Return the inputs in a version's openapi_schema; None if it has none."""
    schemas = _object(_object(_object(schema).get("components")).get("schemas"))
    described = _object(schemas.get("Input"))
    properties, required = _object(described.get("properties")), described.get("required")
    if not properties:
        return None
    return Inputs(
        {str(name): _input(_object(rule), schemas) for name, rule in properties.items()},
        frozenset(map(str, required)) if isinstance(required, list) else frozenset(),
    )


def _input(rule: dict[str, Any], schemas: dict[str, Any]) -> Input:
    """Return an input; its choices are in another schema, to which `allOf` has a `$ref`."""
    parts = [rule]
    if isinstance(all_of := rule.get("allOf"), list):
        parts += map(_object, all_of)
    parts += [_object(schemas.get(str(part.get("$ref")).rpartition("/")[2])) for part in parts]
    found = ChainMap(*parts)
    kind, choices = found.get("type"), found.get("enum")
    return Input(
        type=kind if isinstance(kind, str) else None,
        choices=tuple(choices) if isinstance(choices, list) else None,
        least=_number(found.get("minimum")),
        most=_number(found.get("maximum")),
    )


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) else None
