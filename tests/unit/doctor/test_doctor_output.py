"""What `imagegen doctor` says of a model that makes no images."""

from typing import Any

import pytest

from imagegen.doctor.model_output import FIX, judge_output
from imagegen.doctor.report import Level
from imagegen.sandbox.api_objects import version_json

URI = {"type": "string", "format": "uri"}
TEXT = {"type": "string"}
WORDS = {"type": "array", "items": TEXT, "x-cog-array-display": "concatenate"}


def version(output: object, **others: object) -> dict[str, Any]:
    return {"openapi_schema": {"components": {"schemas": {"Output": output, **others}}}}


@pytest.mark.parametrize(
    ("output", "made"),
    [
        (TEXT, "text"),
        (WORDS, "text"),
        ({"type": "number"}, "number"),
        ({"type": "object", "properties": {"a": TEXT, "b": {"type": "number"}}}, "number, text"),
        ({"$ref": "#/components/schemas/Words"}, "text"),
    ],
)
def test_a_model_of_text_or_numbers_is_warned_of(output: dict[str, Any], made: str) -> None:
    [found] = judge_output(version(output, Words=WORDS), {})

    assert (found.level, found.message, found.fix) == (
        Level.WARNING,
        f"the model makes {made}, no images",
        FIX,
    )


@pytest.mark.parametrize(
    "output",
    [
        URI,
        {"type": "array", "items": URI},
        {"anyOf": [URI, {"type": "array", "items": URI}]},
        {"type": "object", "properties": {"caption": TEXT, "image": URI}},
        {"$ref": "#/components/schemas/Output"},
        {},
        None,
    ],
)
def test_an_output_that_may_be_an_image_is_no_problem(output: object) -> None:
    assert list(judge_output(version(output), {})) == []


def test_a_model_whose_example_is_a_video_is_warned_of() -> None:
    video = {"default_example": {"output": "https://replicate.delivery/pbxt/a/out.mp4"}}
    image = {"default_example": {"output": ["https://replicate.delivery/pbxt/a/out-0.webp"]}}

    [found] = judge_output(version(URI), video)
    assert found.message == "there is no image in the output of the model's example"
    assert list(judge_output(version(URI), image)) == []


@pytest.mark.parametrize("body", [{}, {"default_example": None}, {"default_example": {}}])
def test_the_usual_model_and_one_without_an_example_are_no_problem(body: dict[str, Any]) -> None:
    assert list(judge_output(version_json("a/b", "1"), body)) == []
