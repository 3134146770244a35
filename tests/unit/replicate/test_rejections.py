"""A create that was refused: whose fault it is, and what a person is told."""

import pytest

from imagegen.failures import Kind, Reason
from imagegen.replicate import outcomes
from imagegen.replicate.outcomes import Failed, Refused
from imagegen.replicate.replies import Rejected

TITLE = "Input validation failed"


def of_create(status: int, detail: str = "", title: str = "", prompt: str = "") -> object:
    return outcomes.of_create(Rejected(status, title, detail), 42, prompt=prompt)


def sort(outcome: object) -> Kind | Reason:
    match outcome:
        case Failed(kind):
            return kind
        case Refused(reason):
            return reason
        case _:
            raise AssertionError(outcome)


# An input that is named.


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize(
    "detail",
    [
        "- input: prompt is required\n",
        "- input.prompt: Invalid type. Expected: string, given: null",
        "- input.prompt: String length must be less than or equal to 1000\n",
        "  - input.prompt: too long",
        '[{"loc": ["body", "input", "prompt"], "msg": "too long", "type": "value_error"}]',
        "prompt is too long",
    ],
)
def test_a_prompt_that_is_refused_by_name_fails_its_token(status: int, detail: str) -> None:
    assert sort(of_create(status, detail, TITLE)) is Kind.PERMANENT
    assert sort(of_create(status, detail)) is Kind.PERMANENT


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize(
    ("detail", "inputs"),
    [
        ('- input.output_format: output_format must be one of: "webp", "jpg"\n', "output_format"),
        ("- input.num_inference_steps: Must be less than or equal to 4", "num_inference_steps"),
        ("- input.seed: Invalid type. Expected: integer, given: null", "seed"),
        ("- input.safety_filter_level: must be one of ...", "safety_filter_level"),
        ("- input.negative_prompt: too long", "negative_prompt"),
        ("- input.prompt_strength: Must be less than or equal to 1", "prompt_strength"),
        ("- input: image is required\n", "image"),
        ("- input.loras.0: Invalid type", "loras"),
        ("- input: Additional property guidance is not allowed", "guidance"),
        ("- input.width: too large\n- input.height: too large\n", "height and width"),
        ("- input.prompt: too long\n- input.width: too large\n", "width"),
        ('[{"loc": ["body", "input", "width"], "msg": "too large"}]', "width"),
    ],
)
def test_a_setting_that_is_refused_fails_no_token_and_is_named(
    status: int, detail: str, inputs: str
) -> None:
    outcome = of_create(status, detail, TITLE)

    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.MISCONFIGURED
    assert outcome.message.startswith(f"the model refuses its input {inputs}: HTTP {status} ")
    assert detail.strip() in outcome.message


@pytest.mark.parametrize("detail", ["- input: Invalid type. Expected: object", "odd", "- input: x"])
def test_an_input_that_is_not_named_fails_no_token(detail: str) -> None:
    assert sort(of_create(422, detail, TITLE)) is Reason.MISCONFIGURED


@pytest.mark.parametrize(
    "detail", ["Additional property model is not allowed", "version is required"]
)
@pytest.mark.parametrize("status", [400, 422])
def test_a_request_that_imagegen_makes_wrong_fails_no_token(status: int, detail: str) -> None:
    for text in (detail, f"- {detail}", f"- input: {detail}"):
        assert sort(of_create(status, text)) is Reason.MISCONFIGURED


# Content.


@pytest.mark.parametrize("status", [400, 403, 406, 422, 451])
@pytest.mark.parametrize(
    "detail",
    [
        "The prompt was rejected by our safety filter",
        "Your prompt violates our content policy",
        "The input was flagged as sensitive (E005)",
        "- input.prompt: NSFW",
        "- input.prompt: contains prohibited words",
    ],
)
def test_a_refusal_of_the_content_gets_the_fallback(status: int, detail: str) -> None:
    assert sort(of_create(status, detail)) is Kind.CONTENT_POLICY


@pytest.mark.parametrize("status", [400, 403, 422])
def test_a_providers_own_refusal_of_the_content_gets_the_fallback(status: int) -> None:
    words = '{"error": {"code": "content_policy_violation", "message": "Rejected"}}'

    assert sort(outcomes.of_create(Rejected(status, other_json=words), 42)) is Kind.CONTENT_POLICY


@pytest.mark.parametrize("status", [401, 402, 404])
def test_an_account_or_a_model_that_is_refused_is_no_content(status: int) -> None:
    refused = of_create(status, "blocked: violates the content policy")

    assert isinstance(refused, Refused)


def test_a_prompt_that_an_answer_repeats_is_no_refusal_of_its_content() -> None:
    prompt = "a nude that was blocked by the safety filter of the museum"

    assert sort(of_create(403, f"No access for {prompt}", prompt=prompt)) is Reason.UNAUTHORIZED


# What is not Replicate's answer, or not to what was sent.


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 407, 413, 418, 421, 422, 451])
@pytest.mark.parametrize(
    "rejected",
    [
        Rejected(0),
        Rejected(0, page="Blocked: violates the content policy, from proxy"),
        Rejected(0, other_json='{"success": false, "errors": [{"code": 1020}]}'),
    ],
)
def test_an_answer_of_something_in_between_fails_no_token_and_tells_nobody_to_renew_one(
    rejected: Rejected, status: int
) -> None:
    said = rejected.page or rejected.other_json
    outcome = outcomes.of_create(
        Rejected(status, page=rejected.page, other_json=rejected.other_json), 42
    )

    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.INTERCEPTED
    assert outcome.message == (
        f"HTTP {status} {said}".strip()
        + ": not an answer of Replicate's API, but of something in between"
    )


@pytest.mark.parametrize(
    ("status", "detail"),
    [
        (400, "Failed to parse request body as JSON: EOF"),
        (413, "Request entity too large"),
        (415, "Unsupported media type"),
        (421, "Misdirected request"),
        (451, "Unavailable"),
    ],
)
def test_a_request_that_did_not_arrive_as_it_was_sent_fails_no_token(
    status: int, detail: str
) -> None:
    assert of_create(status, detail) == Refused(Reason.INTERCEPTED, f"HTTP {status} {detail}")
