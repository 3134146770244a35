"""What Replicate says becomes a plain value at the door, or nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from imagegen.failures import Kind
from imagegen.replicate import outcomes, replies
from imagegen.replicate.outcomes import Failed, Running, Succeeded
from imagegen.replicate.replies import Limit, Prediction

DATA = Path(__file__).parent / "data"
RECORDED = json.loads((DATA / "replicate-recorded.json").read_text())["responses"]
PREDICTIONS = [each["body"] for each in RECORDED if each["status"] < 400]
AN_ID = "heat2o3bzn3ahtr6bjfftvbaci"
HUGE = 10**400  # beyond any float
NO_NUMBERS = [None, "fast", -1, True, float("nan"), float("inf"), HUGE, [1]]


def parsed(**fields: Any) -> Prediction | None:
    return replies.parse_prediction({"id": AN_ID, "status": "succeeded"} | fields)


def surely_parsed(**fields: Any) -> Prediction:
    prediction = parsed(**fields)
    assert prediction is not None
    return prediction


@pytest.mark.parametrize("body", PREDICTIONS, ids=lambda body: f"{body['id']} {body['status']}")
def test_every_recorded_prediction_is_read(body: dict[str, Any]) -> None:
    prediction = replies.parse_prediction(body)

    assert prediction is not None
    assert prediction.id == body["id"]
    assert prediction.status == body["status"]
    assert prediction.prompt == body["input"]["prompt"]
    assert prediction.seed == body["input"].get("seed")
    assert prediction.output == body.get("output")
    assert prediction.error is None
    assert prediction.total_seconds == body.get("metrics", {}).get("total_time")


def test_every_recorded_prediction_has_its_meaning() -> None:
    read = [replies.parse_prediction(body) for body in PREDICTIONS]
    meanings = {item.id: outcomes.of_prediction(item, http_allowed=False) for item in read if item}

    assert meanings == {
        "heat2o3bzn3ahtr6bjfftvbaci": Running(),
        "hdwst0bb05rgp0cf0p29mzk2am": Failed(Kind.CANCELED, "the prediction was canceled"),
        "vgcm4plb7tgzlyznry5d5jkgvu": Succeeded(
            "https://replicate.delivery/pbxt/9inf36wjsEWuQ6XTf84iezPftv9QZdePfGySnU5tUai3BOrWE"
            "/out-0.png",
            3.804328,
            None,
        ),
        "azaq55dbukgxg6kubr4k6g3pby": Running(),
        "pw050dtb51rj40cjb2vrcw97b8": Running(),
    }


def test_the_recorded_rejection_is_no_prediction() -> None:
    [rejection] = [each["body"] for each in RECORDED if each["status"] >= 400]

    assert replies.parse_prediction(rejection) is None


@pytest.mark.parametrize("body", [None, [], "text", 7, True, {}, {"id": AN_ID}, {"status": "x"}])
def test_what_is_no_prediction_is_none(body: object) -> None:
    assert replies.parse_prediction(body) is None


@pytest.mark.parametrize(
    "wrong_id",
    [
        *(None, 7, "", "short", "UPPERCASE9", "../account", "a/b/c/d/e", "abcdefgh\n", "a" * 81),
        *("abcdefg?x", "abcdefgh ", "ábcdefghi"),
    ],
)
def test_an_id_that_does_not_belong_in_a_path_is_refused(wrong_id: object) -> None:
    assert parsed(id=wrong_id) is None


@pytest.mark.parametrize("status", [None, 1, ["succeeded"]])
def test_a_status_that_is_no_word_is_refused(status: object) -> None:
    assert parsed(status=status) is None


def test_fields_of_the_wrong_kind_are_left_out() -> None:
    prediction = parsed(
        input=[], metrics="fast", error="", data_removed="yes", output=None, logs={}, extra=1
    )

    assert prediction == Prediction(AN_ID, "succeeded")


def test_inputs_of_the_wrong_kind_are_left_out() -> None:
    prediction = surely_parsed(input={"prompt": ["a cat"], "seed": "7"})

    assert (prediction.prompt, prediction.seed) == (None, None)


@pytest.mark.parametrize("seed", [7, 7.0])
def test_a_seed_is_the_same_number_however_it_is_written(seed: float) -> None:
    assert surely_parsed(input={"seed": seed}).seed == 7


@pytest.mark.parametrize("seed", [7.5, True, -7, float("inf"), float("nan"), HUGE, None])
def test_a_seed_that_is_no_whole_number_is_left_out(seed: object) -> None:
    assert surely_parsed(input={"seed": seed}).seed is None


@pytest.mark.parametrize(
    ("given", "source"), [("api", "api"), ("web", "web"), (None, None), (7, None), ({}, None)]
)
def test_a_prediction_says_whether_it_is_of_a_program_or_of_the_playground(
    given: object, source: str | None
) -> None:
    assert surely_parsed(source=given).source == source


@pytest.mark.parametrize("number", NO_NUMBERS)
def test_a_time_that_is_no_time_is_left_out(number: object) -> None:
    prediction = surely_parsed(metrics={"predict_time": number, "total_time": number})

    assert (prediction.predict_seconds, prediction.total_seconds) == (None, None)


@pytest.mark.parametrize(
    ("error", "words"),
    [("text", "text"), (["a", "b"], '["a", "b"]'), ({"code": 7}, '{"code": 7}'), (None, None)],
)
def test_an_error_of_any_kind_becomes_words(error: object, words: str | None) -> None:
    assert surely_parsed(error=error).error == words


# When to come back, and in which words.

IN_WORDS = "Request was throttled. Your rate limit resets in ~30s."


@pytest.mark.parametrize(
    ("hint", "detail", "headers", "seconds"),
    [
        (5, IN_WORDS, {"retry-after": "7"}, 5.0),
        ("5", "", {}, 5.0),
        (2.5, "", {}, 2.5),
        (None, IN_WORDS, {"retry-after": "7"}, 30.0),
        (None, "Expected available in 12 seconds.", {}, 12.0),
        (None, "", {"retry-after": "7", "ratelimit-reset": "1"}, 7.0),
        (None, "", {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT", "ratelimit-reset": "1"}, 1.0),
        (None, "throttled", {}, None),
        (-5, "", {}, None),
        (True, "", {}, None),
        ({"seconds": 5}, "", {}, None),
        (10**30, "", {}, None),
        (float("nan"), "", {"retry-after": "inf"}, None),
    ],
)
def test_the_hint_when_to_come_back_is_taken_from_where_it_is(
    hint: object, detail: str, headers: dict[str, str], seconds: float | None
) -> None:
    assert replies.retry_after_seconds(hint, detail, headers) == seconds


@pytest.mark.parametrize(
    ("detail", "limit"),
    [
        ("reduced to 6 requests per minute with a burst of 1 requests while", Limit(0.1, 1)),
        ("limited to 1 request per second with a maximum of", Limit(1.0, 1)),
        ("Your rate limit is 120 requests per minute with a burst of 30.", Limit(2.0, 30)),
        ("0 requests per minute", None),
        (IN_WORDS, None),
        ("", None),
    ],
)
def test_the_limit_that_a_refusal_names_is_read(detail: str, limit: Limit | None) -> None:
    assert replies.limit_in(detail) == limit


@pytest.mark.parametrize(
    ("text", "remaining"), [("599", 599), ("0", 0), ("-1", None), ("many", None), ("", None)]
)
def test_an_answer_shows_how_many_requests_remain(text: str, remaining: int | None) -> None:
    assert replies.remaining({"ratelimit-remaining": text}) == remaining


def test_words_of_a_rejection_are_one_line() -> None:
    assert str(replies.Rejected(500, "", " Internal server error\n")) == (
        "HTTP 500 Internal server error"
    )


@pytest.mark.parametrize(
    ("count", "images"), [(4, 4), (1.0, 1), (0, None), (-1, None), (10**6, None), ("4", None)]
)
def test_the_images_that_were_asked_for_and_made_are_whole_numbers_that_a_model_can_make(
    count: object, images: int | None
) -> None:
    prediction = surely_parsed(metrics={"image_count": count}, input={"num_outputs": count})

    assert (prediction.images_made, prediction.images_asked) == (images, images)
