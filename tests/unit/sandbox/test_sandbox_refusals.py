"""The sandbox refuses what Replicate refuses, in its words."""

from typing import Any

import httpx
import pytest

from tests.support.sandbox import Sandbox
from tests.support.sandbox_user import CREATE, SandboxUser

NO_SUCH_THING = {"detail": "The requested resource could not be found.", "status": 404}


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}])
def test_without_the_right_token_the_recorded_refusal_comes_back(
    sandbox: Sandbox, headers: dict[str, str]
) -> None:
    response = httpx.post(sandbox.url + CREATE, json={}, headers=headers)

    assert response.status_code == 401
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json() == {
        "title": "Unauthenticated",
        "detail": "You did not pass a valid authentication token",
        "status": 401,
    }


def test_input_without_a_prompt_is_refused_in_replicates_words(user: SandboxUser) -> None:
    response = user.http.post(CREATE, json={"input": {"num_inference_steps": 5}})

    assert response.status_code == 422
    assert response.json() == {
        "title": "Input validation failed",
        "detail": "- input: prompt is required\n"
        "- input.num_inference_steps: Must be less than or equal to 4\n",
        "status": 422,
        "invalid_fields": [
            {"type": "required", "field": "input", "description": "prompt is required"},
            {
                "type": "number_lte",
                "field": "input.num_inference_steps",
                "description": "Must be less than or equal to 4",
            },
        ],
    }


@pytest.mark.parametrize(
    "inputs",
    [{"seed": "7"}, {"seed": True}, {"num_outputs": 0}, {"output_format": "gif"}],
)
def test_input_against_the_schema_is_refused(user: SandboxUser, inputs: dict[str, Any]) -> None:
    assert user.post(**inputs).status_code == 422


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"input": {"prompt": "x"}, "model": "y"}, "Additional property model is not allowed"),
        ({}, "input is required"),
        ({"input": []}, "Invalid type"),
    ],
)
def test_a_wrong_body_is_refused(user: SandboxUser, body: Any, words: str) -> None:
    response = user.http.post(CREATE, json=body)

    assert response.status_code == 422
    assert words in response.json()["detail"]


@pytest.mark.parametrize("content", ["{", "[]", "null", ""])
def test_a_body_that_is_no_json_object_is_refused(user: SandboxUser, content: str) -> None:
    assert user.http.post(CREATE, content=content).status_code == 400


def test_what_is_not_there_is_not_found(user: SandboxUser) -> None:
    for path in ("/v1/predictions/nosuchprediction", "/v2", "/files/nosuch/out-0.png"):
        response = user.http.get(path)
        assert (response.status_code, response.json()) == (404, NO_SUCH_THING)


def test_a_wrong_method_is_not_allowed(user: SandboxUser) -> None:
    response = user.http.put("/v1/predictions")

    assert response.status_code == 405
    assert response.json() == {"detail": 'Method "PUT" not allowed.', "status": 405}


def test_only_the_models_that_there_are_can_be_used() -> None:
    with Sandbox(models={"a/b"}) as sandbox, SandboxUser(sandbox.url).http as http:
        body = {"input": {"prompt": "a cat"}}

        assert http.post("/v1/models/a/b/predictions", json=body).status_code == 201
        refused = http.post("/v1/models/a/c/predictions", json=body)
        assert (refused.status_code, refused.json()) == (404, NO_SUCH_THING)
        assert http.post("/v1/predictions", json={**body, "version": "a/c"}).status_code == 422
        assert http.get("/v1/models/a/b").status_code == 200
        assert http.get("/v1/models/a/c").status_code == 404


def test_the_rate_limit_lets_the_burst_pass_and_then_says_when_to_come_back() -> None:
    with Sandbox(creates_per_minute=6, burst=2) as sandbox:
        user = SandboxUser(sandbox.url)
        with user.http:
            answers = [user.post() for _ in range(3)]

    assert [answer.status_code for answer in answers] == [201, 201, 429]
    remaining = [answer.headers["ratelimit-remaining"] for answer in answers[:2]]
    reset = [answer.headers["ratelimit-reset"] for answer in answers[:2]]
    assert (remaining, reset) == (["1", "0"], ["10", "20"])
    assert answers[2].json() == {
        "detail": "Request was throttled. Your rate limit for creating predictions is reduced to "
        "6 requests per minute with a burst of 2 requests while you have less than $5.0 in "
        "credit. Your rate limit resets in ~10s.",
        "status": 429,
        "retry_after": 10,
    }
    assert len(sandbox.predictions) == 2
