"""Checks of a model's output: that it may be an image."""

from collections.abc import Iterator, Mapping
from typing import Any

from imagegen.doctor.report import Findings, warning
from imagegen.replicate import find_images

FIX = "name a model that makes images in REPLICATE_MODEL_VERSION"
# A file has a URI; what the schema does not say is empty.
URI, UNKNOWN = "uri", ""
NO_IMAGES = {"string", "integer", "number", "boolean"}
# Far deeper than the schema of any output. A limit, because a schema may refer to itself.
DEEPEST = 10


def judge_output(version: Mapping[str, Any], model: Mapping[str, Any]) -> Findings:
    """Warn if a model makes no images, by the schema of its version or by the output of its
    example. If neither shows it, there is no warning."""
    schemas = _at(version, "openapi_schema", "components", "schemas")
    kinds = set(_kinds(_at(schemas, "Output"), schemas))
    example = _at(model, "default_example").get("output")
    if kinds <= NO_IMAGES:
        made = ", ".join(sorted("text" if kind == "string" else kind for kind in kinds))
        yield warning("output", f"the model makes {made}, no images", FIX)
    elif example and not find_images(example, http_allowed=False):
        yield warning("output", "there is no image in the output of the model's example", FIX)


def _kinds(rule: Mapping[str, Any], schemas: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    """Yield the kind of each value that an output may have."""
    choices = [rule.get(name) for name in ("anyOf", "oneOf", "allOf")]
    parts = [each for choice in choices if isinstance(choice, list) for each in choice]
    parts += [rule.get("items"), *_at(rule, "properties").values()]
    parts.append(schemas.get(str(rule.get("$ref")).rpartition("/")[2]))
    inner = [part for part in parts if isinstance(part, dict)]
    if not inner or depth == DEEPEST:
        kind = str(rule.get("type"))
        is_file = "uri" in str(rule.get("format"))
        yield URI if is_file else kind if kind in NO_IMAGES else UNKNOWN
        return
    for part in inner:
        yield from _kinds(part, schemas, depth + 1)


def _at(value: object, *names: str) -> dict[str, Any]:
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, dict) else {}
