"""The recipe for a model whose predictions carry no seed: a text, or nothing, marks them."""

import logging
from dataclasses import replace
from datetime import timedelta

import pytest

from imagegen.queue import EarlierRequest
from imagegen.replicate.replies import Answered, Listed, Prediction
from imagegen.worker.marker_seen import MarkerSeen
from tests.support.generation_claims import DONE, LISTED_AT, NEW, NOW, STARTED, prediction, sent
from tests.support.generation_runs import generate
from tests.support.settings import settings

pytestmark = pytest.mark.usefixtures("without_waiting")

# The settle time, and as long as the list may lag.
SETTLED_SECONDS = 300.0
SETTLED = replace(sent(SETTLED_SECONDS), model="owner/name")


def alike(seconds_ago: float, **more: object) -> Listed:
    """A list with a prediction of the prompt, made `seconds_ago` by Replicate's clock."""
    created_at = LISTED_AT - timedelta(seconds=seconds_ago)
    found = prediction("processing", seed=None, model="owner/name", created_at=created_at)
    return Listed((replace(found, **more),), sent_at=LISTED_AT)  # type: ignore[arg-type]


def test_a_text_marker_is_sent_as_a_text() -> None:
    calls = generate(creates=[STARTED], looks=[DONE], marker_input="user_id")

    assert calls.about("POST")[0][1]["user_id"] == "imagegen-42"


def test_without_a_marker_nothing_is_decided_before_the_list_must_hold_it() -> None:
    """What it holds sooner may be that of another token with the same prompt."""
    calls = generate(sent(SETTLED_SECONDS - 1), listed=alike(290.0), marker_input=None)

    assert calls.verbs() == ["list", "postpone"]


@pytest.mark.parametrize("seconds_ago", [304.0, 300.0, 240.0])
def test_without_a_marker_it_is_found_by_its_prompt_and_when_it_was_made(
    seconds_ago: float,
) -> None:
    calls = generate(SETTLED, listed=alike(seconds_ago), looks=[DONE], marker_input=None)

    assert calls.verbs() == ["list", "record_prediction", "GET", "complete"]


@pytest.mark.parametrize("seconds_ago", [310.0, 230.0, 1.0])
def test_what_was_made_at_another_time_is_that_of_another_token(seconds_ago: float) -> None:
    calls = generate(SETTLED, listed=alike(seconds_ago), marker_input=None)

    assert calls.happened[-1][:2] == ("requeue", "unavailable")


@pytest.mark.parametrize(
    "more", [{"source": "web"}, {"prompt": "a dog"}], ids=["the playground", "another prompt"]
)
def test_what_is_not_ours_is_not_taken(more: dict[str, str]) -> None:
    calls = generate(SETTLED, listed=alike(290.0, **more), marker_input=None)

    assert calls.happened[-1][:2] == ("requeue", "unavailable")


def test_what_nobody_can_tell_is_unresolved_and_not_paid_again() -> None:
    listed = alike(290.0, model="renamed/name")
    calls = generate(SETTLED, listed=listed, marker_input=None)

    assert calls.happened[-1] == ("fail_attempt", "unresolved", "failed")


def test_a_late_look_finds_it_by_its_prompt_and_its_time() -> None:
    earlier = EarlierRequest(41, "a cat", NOW, 7000.0, model="owner/name")
    claim = replace(NEW, unresolved=(earlier,))

    found = generate(claim, listed=alike(6990.0), looks=[DONE], marker_input=None)
    another = generate(
        claim, listed=alike(5000.0), creates=[STARTED], looks=[DONE], marker_input=None
    )

    assert found.verbs() == ["list", "record_found", "GET", "complete"]
    assert another.verbs()[:3] == ["list", "record_request", "POST"]


def test_a_model_that_does_not_return_its_marker_is_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    accepted = Answered(prediction("starting", seed=None))
    generate(creates=[accepted], looks=[DONE], marker_input="user_id")

    [said] = [each for each in caplog.records if each.message == "marker.not_returned"]
    assert said.levelno == logging.WARNING
    assert (vars(said)["model"], vars(said)["marker"]) == ("owner/name", "user_id")


def test_a_worker_that_is_started_later_knows_that_the_marker_does_not_come_back() -> None:
    """What the list holds before it must hold all may be another token's with the same prompt."""
    seen, claim = MarkerSeen(settings()), replace(sent(90.0), model="owner/name")
    accepted = Answered(prediction("starting", seed=None))
    generate(creates=[accepted], looks=[DONE], marker_seen=seen)

    knowing = generate(claim, listed=alike(90.0), marker_seen=seen)
    unknowing = generate(claim, listed=alike(90.0), looks=[DONE])

    assert knowing.verbs() == ["list", "postpone"]
    assert unknowing.verbs()[:2] == ["list", "record_prediction"]


def test_an_answer_without_any_inputs_tells_nothing_of_the_marker(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bare = Answered(Prediction(prediction("starting").id, "starting"))
    generate(creates=[bare], looks=[DONE])

    assert "marker.not_returned" not in {each.message for each in caplog.records}


def test_a_marker_that_comes_back_makes_the_settle_time_short() -> None:
    calls = generate(sent(60.0), listed=Listed((prediction("processing"),)), looks=[DONE])

    assert calls.verbs() == ["list", "record_prediction", "GET", "complete"]
