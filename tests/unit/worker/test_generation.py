"""The recipe for one token: in which order it writes and pays, and when it does neither."""

import time
from dataclasses import replace

import psycopg
import pytest

from imagegen.failures import Reason
from imagegen.queue import History
from imagegen.replicate.outcomes import Refused
from imagegen.replicate.replies import Answered, Listed, NotSent, Rejected, Reply
from imagegen.worker import gate as gates
from imagegen.worker.create_rate import SHARE, CreateRate
from imagegen.worker.gate import Gate
from tests.support.generation_claims import (
    AN_ID,
    AN_IMAGE,
    DONE,
    NEW,
    STARTED,
    adopted,
    prediction,
    sent,
)
from tests.support.generation_runs import FALLBACK, GIVE_UP_AFTER_SECONDS, generate, open_gate

STARTED_FALLBACK = Answered(prediction("starting", seed=43))
CENSORED = Answered(prediction("failed", error="NSFW content detected"))


pytestmark = pytest.mark.usefixtures("without_waiting")


# From the claim to the image.


def test_it_writes_before_it_pays_and_commits_the_id_before_it_looks() -> None:
    calls = generate(creates=[STARTED], looks=[STARTED, DONE])

    assert calls.verbs() == [
        "record_request", "POST", "record_prediction", "GET", "GET", "complete",
    ]  # fmt: skip
    assert calls.about("complete") == [(AN_IMAGE,)]


def test_the_prompt_goes_with_its_seed_and_the_inputs_of_the_settings() -> None:
    calls = generate(replace(NEW, author_prompt="a\ncat"), creates=[STARTED], looks=[DONE])

    inputs = {"aspect_ratio": "1:1", "prompt": "a cat", "seed": 42}
    assert calls.about("POST") == [("owner/name", inputs)]
    assert calls.about("record_request") == [("a cat",)]


def test_a_prompt_that_can_never_be_sent_costs_nothing() -> None:
    calls = generate(replace(NEW, author_prompt=None))

    assert calls.happened == [("fail_attempt", "invalid_prompt", "failed")]


def test_a_token_that_no_longer_waits_is_not_paid_for() -> None:
    calls = generate(replace(NEW, wanted=False))

    assert calls.happened == [("requeue", "withdrawn", 0.0)]


# Failures.


def test_a_failed_prediction_is_one_of_three_attempts() -> None:
    calls = generate(creates=[STARTED], looks=[Answered(prediction("failed", error="E6716"))])

    assert calls.about("fail_attempt") == [("transient", "waits")]


def test_the_third_prediction_that_fails_ends_it_where_others_get_images() -> None:
    out_of_memory = Answered(prediction("failed", error="CUDA out of memory."))
    before = History(failures=2, charged=2, image_of_later=True)
    calls = generate(creates=[STARTED], looks=[out_of_memory], before=before)

    assert calls.about("fail_attempt") == [("stubborn", "failed")]


def test_a_censored_prompt_is_followed_by_the_fallback_with_a_seed_of_its_own() -> None:
    calls = generate(creates=[STARTED, STARTED_FALLBACK], looks=[CENSORED, DONE])

    assert calls.about("use_fallback") == [(FALLBACK,)]
    assert [inputs["prompt"] for _, inputs in calls.about("POST")] == ["a cat", FALLBACK]
    assert [inputs["seed"] for _, inputs in calls.about("POST")] == [42, 43]
    assert calls.verbs()[-1] == "complete"


def test_a_fallback_that_is_censored_too_ends_it() -> None:
    calls = generate(creates=[STARTED, STARTED_FALLBACK], looks=[CENSORED, CENSORED])

    assert calls.happened[-1] == ("fail_attempt", "content_policy", "failed")


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (NotSent("ConnectError"), "unreachable"),
        (Rejected(401, "Unauthenticated"), "unauthorized"),
        (Rejected(402, "Insufficient credit"), "no_credit"),
        (Rejected(404, "", "not found"), "misconfigured"),
        (Rejected(429, retry_after_seconds=2.0), "throttled"),
    ],
)
def test_a_refusal_costs_no_attempt_and_closes_the_gate(reply: Reply, reason: str) -> None:
    gate = open_gate()
    calls = generate(creates=[reply], gate=gate)

    assert calls.happened[-1] == (
        "requeue",
        reason,
        pytest.approx(2.0, rel=0.2),
    )
    assert gate.allows(10) == 0


def test_an_accepted_prediction_opens_the_gate() -> None:
    gate = open_gate()
    generate(creates=[Rejected(401, "Unauthenticated")], gate=gate)
    generate(creates=[STARTED], looks=[DONE], gate=gate)

    assert gate.allows(10) == 10


def test_an_input_that_can_never_pass_fails_its_token_and_opens_the_gate() -> None:
    gate = open_gate()
    generate(creates=[Rejected(401, "Unauthenticated")], gate=gate)
    refused = Rejected(422, "", "- input.prompt: Invalid type. Expected: string")
    calls = generate(creates=[refused], gate=gate)

    assert calls.happened[-1] == ("fail_attempt", "permanent", "failed")
    assert gate.allows(10) == 10


def test_the_gate_opens_for_others_only_after_the_id_is_committed() -> None:
    gate = open_gate()
    generate(creates=[Rejected(401, "Unauthenticated")], gate=gate)
    generate(creates=[STARTED], lost_at="record_prediction", gate=gate)

    assert gate.allows(10) == 0


def test_a_probe_with_a_prompt_that_cannot_be_sent_lets_the_next_one_go_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gates, "FIRST_DELAY_SECONDS", 0.0)
    gate = open_gate()
    generate(creates=[Rejected(401, "Unauthenticated")], gate=gate)
    assert gate.allows(10) == 1
    gate.admit_new(NEW.generation_id)
    assert gate.allows(10) == 0

    generate(replace(NEW, author_prompt=None), gate=gate)
    assert gate.allows(10) == 1


# Adoption, leases and stops.


def test_an_adopted_prediction_is_watched_and_not_paid_for() -> None:
    claim = adopted(prompt="a cat", prediction_id=AN_ID)

    assert generate(claim, looks=[DONE]).verbs() == ["GET", "complete"]


def test_an_adopted_request_is_looked_up_and_not_paid_for() -> None:
    calls = generate(sent(5.0), listed=Listed((prediction("starting"),)), looks=[DONE])

    assert calls.verbs() == ["list", "record_prediction", "GET", "complete"]


@pytest.mark.parametrize(
    ("lost_at", "last"),
    [
        ("record_request", "record_request"),  # nothing is sent
        ("record_prediction", "record_prediction"),  # the new holder finds it in the list
        ("complete", "complete"),
    ],
)
def test_whose_lease_is_lost_drops_the_work_and_touches_nothing(lost_at: str, last: str) -> None:
    calls = generate(creates=[STARTED], looks=[DONE], lost_at=lost_at)

    assert calls.verbs()[-1] == last
    assert len(calls.about("POST")) == (lost_at != "record_request")


def test_a_stop_leaves_the_prediction_to_the_next_worker() -> None:
    calls = generate(creates=[STARTED], stops=True)

    assert calls.verbs() == ["record_request", "POST", "record_prediction"]


def test_a_database_that_goes_away_is_waited_for() -> None:
    away: list[Exception] = [psycopg.OperationalError("gone"), psycopg.OperationalError("gone")]
    calls = generate(creates=[STARTED], looks=[DONE], away=away)

    assert calls.verbs()[:4] == ["record_request"] * 3 + ["POST"]
    assert calls.verbs()[-1] == "complete"


# A fallback or an adopted generation asks in its turn.


def busy_gate(per_second: float) -> Gate:
    """A gate whose last turn has just been taken."""
    gate = Gate("worker-0", CreateRate(per_second / SHARE))
    gate.admit_new(99)
    return gate


def test_what_was_left_before_its_request_waits_for_its_turn_and_is_sent() -> None:
    calls = generate(adopted(), creates=[STARTED], looks=[DONE], gate=busy_gate(5.0))

    assert calls.verbs()[:2] == ["record_request", "POST"]


def test_a_new_token_for_which_another_worker_was_faster_waits_for_its_turn() -> None:
    gate = busy_gate(5.0)
    gate.admit_new(NEW.generation_id)
    began = time.monotonic()
    calls = generate(creates=[STARTED], looks=[DONE], gate=gate)

    assert calls.verbs()[:2] == ["record_request", "POST"]
    assert time.monotonic() - began >= 0.1


def test_a_turn_that_is_far_off_holds_no_slot() -> None:
    calls = generate(adopted(), gate=busy_gate(0.1))

    assert calls.verbs() == ["postpone"]


def test_nothing_is_sent_through_a_closed_gate_and_a_day_before_it_is_given_up() -> None:
    gate = open_gate()
    gate.record_refusal(Refused(Reason.NO_CREDIT, "no"), 99)

    assert generate(adopted(), gate=gate).verbs() == ["postpone"]
    old = adopted(opened_seconds_ago=GIVE_UP_AFTER_SECONDS + 1)
    assert generate(old, gate=gate).about("requeue")[0][0] == "no_credit"
