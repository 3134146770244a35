"""The objects of Replicate's API as JSON: predictions, a model, the account."""

from datetime import UTC, datetime
from typing import Any

from imagegen.sandbox.predictions import State, StoredPrediction

FLUX_SCHNELL = "black-forest-labs/flux-schnell"
RATIOS = ["1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "3:4", "4:3", "9:16", "9:21"]

ACCOUNT = {
    "type": "organization",
    "username": "sandbox",
    "name": "Sandbox",
    "github_url": "https://github.com/sandbox",
}

# The input of flux-schnell. Other models take these two.
ANY_INPUT: dict[str, Any] = {
    "prompt": {"type": "string", "title": "Prompt", "description": "Prompt for the image"},
    "seed": {"type": "integer", "title": "Seed", "description": "Random seed"},
}
FLUX_SCHNELL_INPUT: dict[str, Any] = {
    **ANY_INPUT,
    "aspect_ratio": {"type": "string", "enum": RATIOS, "default": "1:1"},
    "num_outputs": {"type": "integer", "minimum": 1, "maximum": 4, "default": 1},
    "num_inference_steps": {"type": "integer", "minimum": 1, "maximum": 4, "default": 4},
    "output_format": {"type": "string", "enum": ["webp", "jpg", "png"], "default": "webp"},
    "output_quality": {"type": "integer", "minimum": 0, "maximum": 100, "default": 80},
    "disable_safety_checker": {"type": "boolean", "default": False},
    "go_fast": {"type": "boolean", "default": True},
    "megapixels": {"type": "string", "enum": ["1", "0.25"], "default": "1"},
}
# Models without a seed. Some have an input for any text, which the list shows.
NO_SEED_INPUTS: dict[str, dict[str, Any]] = {
    "google/imagen-4": {
        "prompt": ANY_INPUT["prompt"],
        "aspect_ratio": {"type": "string", "enum": RATIOS, "default": "1:1"},
        "output_format": {"type": "string", "enum": ["jpg", "png"], "default": "jpg"},
    },
    "openai/gpt-image-1": {
        "prompt": ANY_INPUT["prompt"],
        "number_of_images": {"type": "integer", "minimum": 1, "maximum": 10, "default": 1},
        "quality": {"type": "string", "enum": ["low", "medium", "high", "auto"]},
        "output_format": {"type": "string", "enum": ["png", "jpeg", "webp"], "default": "webp"},
        "user_id": {"type": "string"},
    },
}
JSON_TYPES: dict[str, type] = {"string": str, "integer": int, "boolean": bool}


def input_schema(model: str) -> dict[str, Any]:
    if model == FLUX_SCHNELL:
        return FLUX_SCHNELL_INPUT
    return NO_SEED_INPUTS.get(model, ANY_INPUT)


def input_problems(model: str, inputs: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return what the model's schema forbids in an input: (type, field, description) of each."""
    problems = []
    if "prompt" not in inputs:
        problems.append(("required", "input", "prompt is required"))
    for name, rule in input_schema(model).items():
        if name not in inputs:
            continue
        value, field = inputs[name], f"input.{name}"
        if type(value) is not JSON_TYPES[rule["type"]]:
            problems.append(("invalid_type", field, f"Invalid type. Expected: {rule['type']}"))
        elif "enum" in rule and value not in rule["enum"]:
            choices = ", ".join(f'"{choice}"' for choice in rule["enum"])
            problems.append(("enum", field, f"{name} must be one of the following: {choices}"))
        elif "maximum" in rule and value > (most := rule["maximum"]):
            problems.append(("number_lte", field, f"Must be less than or equal to {most}"))
        elif "minimum" in rule and value < (least := rule["minimum"]):
            problems.append(("number_gte", field, f"Must be greater than or equal to {least}"))
    return problems


def model_json(model: str) -> dict[str, Any]:
    owner, _, name = model.partition("/")
    return {
        "url": f"https://replicate.com/{model}",
        "owner": owner,
        "name": name,
        "description": "A model of the sandbox",
        "visibility": "public",
        "is_official": True,
        "run_count": 0,
        "latest_version": version_json(model, "hidden"),
    }


def deployment_json(model: str) -> dict[str, Any]:
    """Return a deployment; here it runs the model of the same name."""
    owner, _, name = model.partition("/")
    return {
        "owner": owner,
        "name": name,
        "current_release": {"number": 1, "model": model, "version": "0" * 64},
    }


def version_json(model: str, version: str) -> dict[str, Any]:
    """Return a version of a model, whatever its id."""
    inputs = {
        "type": "object",
        "title": "Input",
        "required": ["prompt"],
        "properties": input_schema(model),
    }
    output = {"type": "array", "items": {"type": "string", "format": "uri"}}
    return {
        "id": version,
        "created_at": "2024-08-01T00:00:00.000000Z",
        "cog_version": "0.11.1",
        "openapi_schema": {
            "openapi": "3.0.2",
            "info": {"title": "Cog", "version": "0.1.0"},
            "components": {"schemas": {"Input": inputs, "Output": output}},
        },
    }


def prediction_json(
    stored: StoredPrediction, now: float, base_url: str, retention_seconds: float
) -> dict[str, Any]:
    """Return a prediction as it is at `now`, a time of the monotonic clock."""
    state = stored.at(now)
    started, completed = state.started_seconds, state.completed_seconds
    removed = is_removed(state, now, retention_seconds)
    value: dict[str, Any] = {
        "id": stored.id,
        "model": stored.model,
        "version": stored.version,
        "input": {} if removed else stored.input,
        "logs": "",
        "output": None,
        "data_removed": removed,
        "error": state.error,
        "status": state.status,
        "source": stored.source,
        "created_at": iso(stored.created_at),
        "urls": {
            "cancel": f"{base_url}/v1/predictions/{stored.id}/cancel",
            "get": f"{base_url}/v1/predictions/{stored.id}",
        },
    }
    if state.status == "succeeded" and not removed:
        count = stored.input.get("num_outputs")
        images = range(count if isinstance(count, int) else 1)
        urls = [f"{base_url}/files/{stored.id}/out-{index}.png" for index in images]
        value["output"] = stored.script.output_of(urls)
        value["logs"] = f"Using seed: {stored.seed}\nPrompt: {stored.prompt}\n{stored.script.logs}"
    if started is not None:
        value["started_at"] = iso(stored.unix_time(started))
    if completed is not None:
        value["completed_at"] = iso(stored.unix_time(completed))
        value["metrics"] = {
            "predict_time": round(completed - started, 6) if started is not None else 0.0,
            "total_time": round(completed - stored.created_seconds, 6),
        }
    return value


def is_removed(state: State, now: float, retention_seconds: float) -> bool:
    """Return whether the prediction's input and output are deleted, some time after its end."""
    completed = state.completed_seconds
    return completed is not None and now > completed + retention_seconds


def iso(unix_time: float) -> str:
    when = datetime.fromtimestamp(unix_time, UTC)
    return when.isoformat(timespec="microseconds").replace("+00:00", "Z")
