"""What Replicate's answers mean for a token: every real message that is known, and the traps."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from imagegen.failures import Kind, Reason
from imagegen.replicate import outcomes
from imagegen.replicate.outcomes import (
    Accepted,
    Ambiguous,
    Failed,
    PollFailed,
    Refused,
    Running,
)
from imagegen.replicate.replies import Answered, NoAnswer, NotSent, Prediction, Rejected, Reply

DATA = Path(__file__).parent / "data"
KNOWN_ERRORS = json.loads((DATA / "replicate-errors.json").read_text())
AN_ID = "heat2o3bzn3ahtr6bjfftvbaci"
AN_IMAGE = "https://replicate.delivery/pbxt/9inf/out-0.png"
ANOTHER = "https://replicate.delivery/pbxt/9inf/out-1.png"
A_DATA_URI = "data:image/webp;base64,UklGRhAAAABXRUJQVlA4IAQAAAA="
SEED = 42
ACCOUNT_REASONS = {Reason.UNAUTHORIZED, Reason.NO_CREDIT, Reason.MISCONFIGURED}


def category(outcome: object) -> str:
    """An outcome in the words of replicate-errors.json."""
    match outcome:
        case Failed(Kind.STUBBORN | Kind.OVERLOADED):
            return "transient"
        case Failed(Kind.MISCONFIGURED):
            return "account"
        case Failed(kind):
            return kind.value
        case Refused(Reason.THROTTLED | Reason.INTERCEPTED as reason):
            return reason.value
        case Refused(reason) if reason in ACCOUNT_REASONS:
            return "account"
        case Ambiguous():
            return "ambiguous"
        case _:
            return repr(outcome)


def failed_with(error: str | None) -> object:
    prediction = Prediction(AN_ID, "failed", error=error)
    return outcomes.of_prediction(prediction, http_allowed=False)


def ended(status: str, output: object = None, **more: Any) -> object:
    prediction = Prediction(AN_ID, status, output=output, **more)
    return outcomes.of_prediction(prediction, http_allowed=False)


def of_create(reply: Reply) -> object:
    return outcomes.of_create(reply, SEED)


def test_the_answer_to_another_request_proves_nothing() -> None:
    ours, other = (Answered(Prediction(AN_ID, "starting", seed=seed)) for seed in (SEED, 43))

    assert isinstance(of_create(ours), Accepted)
    assert isinstance(of_create(other), Ambiguous)
    assert isinstance(outcomes.of_create(other, None), Accepted)  # a model without a seed


# A failed prediction.


@pytest.mark.parametrize("row", KNOWN_ERRORS["failed_prediction"], ids=lambda row: row["error"])
def test_a_real_error_of_a_prediction_means_what_is_known_of_it(row: dict[str, Any]) -> None:
    assert category(failed_with(row["error"])) == row["category"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("Content Moderated", Kind.CONTENT_POLICY),
        ("helpers.exceptions.prediction.ModelError: flagged as sensitive (E005)", "content_policy"),
        ("Service is temporarily unavailable. Please try again later. (E004)", Kind.OVERLOADED),
        ("ModelRateLimitError: too many requests", Kind.OVERLOADED),
        ("Prediction interrupted; please retry (code: PA)", Kind.TRANSIENT),
        ("Director: unexpected error handling prediction (E8765)", Kind.TRANSIENT),
        ("Request 0 already exists.", Kind.TRANSIENT),
        ("prompt must not be empty", Kind.PERMANENT),
        ("Must be less than or equal to 4", Kind.STUBBORN),
        ("no words for it", Kind.UNKNOWN),
    ],
)
def test_other_errors_seen_in_public_mean_what_is_known_of_them(error: str, kind: Kind) -> None:
    assert failed_with(error) == Failed(kind, error)


@pytest.mark.parametrize(
    "error",
    ["odd: a cat with the number 429", "odd: safety first", "odd: please try again", "odd: 503"],
)
def test_words_of_a_prompt_repeated_in_an_error_decide_nothing(error: str) -> None:
    assert category(failed_with(error)) == "unknown"


def test_a_setting_that_a_model_refuses_is_named() -> None:
    error = "width must be one of [512, 768]"

    assert failed_with(error) == Failed(
        Kind.MISCONFIGURED, f"the model refuses its input width: {error}"
    )


def test_the_operators_pattern_finds_refusals_that_nobody_knows() -> None:
    pattern = re.compile("says no")
    prediction = Prediction(AN_ID, "failed", error="the keeper says no")

    assert failed_with("the keeper says no") == Failed(Kind.UNKNOWN, "the keeper says no")
    for outcome in (
        outcomes.of_prediction(prediction, http_allowed=False, policy_pattern=pattern),
        outcomes.of_get(Answered(prediction), http_allowed=False, policy_pattern=pattern),
        outcomes.of_create(Rejected(422, "", "the keeper says no"), SEED, policy_pattern=pattern),
    ):
        assert category(outcome) == "content_policy"


# The answer to a create.


@pytest.mark.parametrize(
    "row", KNOWN_ERRORS["create"], ids=lambda row: f"{row['status']} {row['detail'][:30]}"
)
def test_a_real_answer_to_a_create_means_what_is_known_of_it(row: dict[str, Any]) -> None:
    rejected = Rejected(row["status"], row["title"], row["detail"])

    assert category(of_create(rejected)) == row["category"]


@pytest.mark.parametrize("status", [408, 409, 500, 502, 503, 504, 520, 524, 529])
def test_a_status_that_may_come_after_the_creation_is_never_a_reason_to_send_again(
    status: int,
) -> None:
    assert category(of_create(Rejected(status))) == "ambiguous"


@pytest.mark.parametrize("status", [301, 302, 307, 308, 399, 600, 999])
def test_a_status_that_nobody_expects_is_unknown(status: int) -> None:
    assert category(of_create(Rejected(status))) == "ambiguous"


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, Reason.UNAUTHORIZED),
        (402, Reason.NO_CREDIT),
        (403, Reason.UNAUTHORIZED),
        (404, Reason.MISCONFIGURED),
        (405, Reason.MISCONFIGURED),
        (429, Reason.THROTTLED),
    ],
)
def test_a_refusal_at_the_door_is_not_the_tokens_fault(status: int, reason: Reason) -> None:
    outcome = of_create(Rejected(status, "Title", " detail\n"))

    assert outcome == Refused(reason, f"HTTP {status} Title detail")


def test_a_throttled_request_says_when_to_come_back() -> None:
    outcome = of_create(Rejected(429, "", "throttled", retry_after_seconds=5.0))

    assert outcome == Refused(Reason.THROTTLED, "HTTP 429 throttled", 5.0)


def test_an_input_refused_for_its_content_gets_the_fallback() -> None:
    rejected = Rejected(422, "Input validation failed", "- input.prompt: NSFW")

    assert category(of_create(rejected)) == "content_policy"


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (Answered(Prediction(AN_ID, "starting")), Accepted(Prediction(AN_ID, "starting"))),
        (Answered(Prediction(AN_ID, "failed")), Accepted(Prediction(AN_ID, "failed"))),
        (NotSent("ConnectError"), Refused(Reason.UNREACHABLE, "ConnectError")),
        (NoAnswer("ReadTimeout"), Ambiguous("ReadTimeout")),
    ],
)
def test_what_became_of_a_request(reply: Reply, outcome: object) -> None:
    assert of_create(reply) == outcome


# A look at a prediction.


@pytest.mark.parametrize(
    "reply",
    [
        *(Rejected(429), Rejected(401, "No"), Rejected(402), Rejected(500), Rejected(302)),
        *(Rejected(403, page="Access denied"), NotSent("no")),
    ],
)
def test_a_look_that_failed_says_nothing_of_the_prediction(reply: Reply) -> None:
    outcome = outcomes.of_get(reply, http_allowed=False)

    assert isinstance(outcome, PollFailed)
    assert not outcome.missing


def test_a_page_that_is_not_found_says_nothing_of_the_prediction() -> None:
    outcome = outcomes.of_get(Rejected(404), http_allowed=False)

    assert outcome == PollFailed("HTTP 404", reason=Reason.UNAVAILABLE)


def test_a_prediction_that_is_not_found_may_still_turn_up() -> None:
    outcome = outcomes.of_get(Rejected(404, "", "not found"), http_allowed=False)

    assert outcome == PollFailed("HTTP 404 not found", missing=True)


@pytest.mark.parametrize("status", ["starting", "processing", "queued", "booting", ""])
def test_a_status_that_nobody_knows_has_not_ended(status: str) -> None:
    assert ended(status, [AN_IMAGE]) == Running()


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        ("canceled", Kind.CANCELED, "the prediction was canceled"),
        ("aborted", Kind.ABORTED, "the prediction was aborted before it ran"),
    ],
)
def test_a_prediction_that_was_ended_early_may_pass_another_time(
    status: str, kind: Kind, message: str
) -> None:
    assert ended(status) == Failed(kind, message)
