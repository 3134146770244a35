"""The recipe for one token: in which order it writes and pays, and when it does neither."""

from dataclasses import replace

import psycopg
import pytest

from imagegen import closing, generation
from imagegen import gate as gates
from imagegen.gate import Gate
from imagegen.outcomes import Refused
from imagegen.pacing import SHARE, CreatePace
from imagegen.reasons import Reason
from imagegen.replies import Answered, Listed, NotSent, Prediction, Rejected, Reply, Unclear
from tests.unit.recipe import (
    AN_ID,
    AN_IMAGE,
    DONE,
    FALLBACK,
    GIVE_UP_AFTER_SECONDS,
    NEW,
    NOW,
    STARTED,
    NoPace,
    adopted,
    generate,
    open_gate,
    prediction,
    sent,
)

STARTED_FALLBACK = Answered(prediction("starting", seed=43))
CENSORED = Answered(prediction("failed", error="NSFW content detected"))
UNCLEAR = Unclear("ReadTimeout")


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "Pace", NoPace)
    monkeypatch.setattr(closing, "DATABASE_AGAIN_SECONDS", 0.0)


# From the claim to the image.


def test_it_writes_before_it_pays_and_commits_the_id_before_it_looks() -> None:
    noted = generate(creates=[STARTED], looks=[STARTED, DONE])

    assert noted.verbs() == [
        "record_request", "POST", "record_prediction", "GET", "GET", "close_succeeded",
    ]  # fmt: skip
    assert noted.about("close_succeeded") == [(AN_IMAGE,)]


def test_the_prompt_goes_with_its_seed_and_the_inputs_of_the_settings() -> None:
    noted = generate(replace(NEW, author_prompt="a\ncat"), creates=[STARTED], looks=[DONE])

    inputs = {"aspect_ratio": "1:1", "prompt": "a cat", "seed": 42}
    assert noted.about("POST") == [("owner/name", inputs)]
    assert noted.about("record_request") == [("a cat",)]


def test_a_prompt_that_can_never_be_sent_costs_nothing() -> None:
    noted = generate(replace(NEW, author_prompt=None))

    assert noted.happened == [("close_failed", "invalid_prompt", 0)]


def test_a_token_that_no_longer_waits_is_not_paid_for() -> None:
    noted = generate(replace(NEW, wanted=False))

    assert noted.happened == [("close_refused", "withdrawn", 0.0)]


# Failures.


def test_a_failed_prediction_is_one_of_three_attempts() -> None:
    noted = generate(creates=[STARTED], looks=[Answered(prediction("failed", error="E6716"))])

    assert noted.about("close_failed") == [("transient", 3)]


@pytest.mark.parametrize(
    ("previous_kind", "max_attempts"), [(None, 3), ("transient", 3), ("stubborn", 0)]
)
def test_what_mostly_comes_back_is_tried_twice_at_most(
    previous_kind: str | None, max_attempts: int
) -> None:
    out_of_memory = Answered(prediction("failed", error="CUDA out of memory."))
    claim = replace(NEW, attempt=2, previous_kind=previous_kind)
    noted = generate(claim, creates=[STARTED], looks=[out_of_memory])

    assert noted.about("close_failed") == [("stubborn", max_attempts)]


def test_a_censored_prompt_is_followed_by_the_fallback_with_a_seed_of_its_own() -> None:
    noted = generate(creates=[STARTED, STARTED_FALLBACK], looks=[CENSORED, DONE])

    assert noted.about("close_censored") == [(FALLBACK,)]
    assert [inputs["prompt"] for _, inputs in noted.about("POST")] == ["a cat", FALLBACK]
    assert [inputs["seed"] for _, inputs in noted.about("POST")] == [42, 43]
    assert noted.verbs()[-1] == "close_succeeded"


def test_a_fallback_that_is_censored_too_ends_it() -> None:
    noted = generate(creates=[STARTED, STARTED_FALLBACK], looks=[CENSORED, CENSORED])

    assert noted.happened[-1] == ("close_failed", "content_policy", 0)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (NotSent("ConnectError"), "unreachable"),
        (Rejected(401), "unauthorized"),
        (Rejected(402), "no_credit"),
        (Rejected(404), "misconfigured"),
        (Rejected(429, retry_after_seconds=2.0), "throttled"),
    ],
)
def test_a_refusal_costs_no_attempt_and_closes_the_gate(reply: Reply, reason: str) -> None:
    gate = open_gate()
    noted = generate(creates=[reply], gate=gate)

    assert noted.happened[-1] == (
        "close_refused",
        reason,
        pytest.approx(2.0, rel=0.2),
    )
    assert gate.allows(10) == 0


def test_an_accepted_prediction_opens_the_gate() -> None:
    gate = open_gate()
    generate(creates=[Rejected(401)], gate=gate)
    generate(creates=[STARTED], looks=[DONE], gate=gate)

    assert gate.allows(10) == 10


def test_an_input_that_can_never_pass_fails_its_token_and_opens_the_gate() -> None:
    gate = open_gate()
    generate(creates=[Rejected(401)], gate=gate)
    refused = Rejected(422, "", "- input.prompt: Invalid type. Expected: string")
    noted = generate(creates=[refused], gate=gate)

    assert noted.happened[-1] == ("close_failed", "permanent", 0)
    assert gate.allows(10) == 10


def test_the_gate_opens_for_others_only_after_the_id_is_committed() -> None:
    gate = open_gate()
    generate(creates=[Rejected(401)], gate=gate)
    generate(creates=[STARTED], lost_at="record_prediction", gate=gate)

    assert gate.allows(10) == 0


def test_a_probe_with_a_prompt_that_cannot_be_sent_lets_the_next_one_go_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gates, "FIRST_DELAY_SECONDS", 0.0)
    gate = open_gate()
    generate(creates=[Rejected(401)], gate=gate)
    assert gate.allows(10) == 1
    gate.goes_ahead(NEW.generation_id)
    assert gate.allows(10) == 0

    generate(replace(NEW, author_prompt=None), gate=gate)
    assert gate.allows(10) == 1


# A request with an unknown outcome.


@pytest.mark.parametrize("reply", [UNCLEAR, Rejected(500), Rejected(504), Rejected(408)])
def test_an_unknown_outcome_is_looked_up_and_never_sent_again(reply: Reply) -> None:
    noted = generate(creates=[reply], listed=Listed((prediction("succeeded"),)), looks=[DONE])

    assert noted.verbs() == [
        "record_request", "POST", "list", "record_prediction", "GET", "close_succeeded",
    ]  # fmt: skip


def test_a_prediction_that_is_not_listed_yet_is_looked_for_again_later() -> None:
    noted = generate(creates=[UNCLEAR])

    assert noted.verbs() == ["record_request", "POST", "list", "postpone"]


def test_the_list_is_asked_since_well_before_the_request() -> None:
    [(since, last_seconds)] = generate(sent(5.0)).about("list")

    assert since.isoformat() == "2026-01-01T11:58:00+00:00"
    assert last_seconds == 65.0


@pytest.mark.parametrize(
    ("age_seconds", "again_seconds"), [(0.0, 1.0), (4.0, 4.0), (30.0, 30.0), (59.0, 1.0)]
)
def test_it_looks_more_seldom_with_time_and_at_the_end_of_the_settle_time(
    age_seconds: float, again_seconds: float
) -> None:
    assert generate(sent(age_seconds)).about("postpone") == [(again_seconds,)]


def test_what_never_showed_up_was_not_made_and_costs_no_attempt() -> None:
    noted = generate(sent(61.0))

    assert noted.verbs() == ["list", "close_refused"]
    assert noted.about("close_refused") == [("unavailable", 0.0)]


@pytest.mark.parametrize("listed", [Rejected(500), Rejected(401), NotSent("no"), UNCLEAR])
@pytest.mark.parametrize("age_seconds", [5.0, 4000.0])
def test_a_list_that_cannot_be_read_proves_nothing_however_late(
    listed: Rejected | NotSent | Unclear, age_seconds: float
) -> None:
    assert generate(sent(age_seconds), listed=listed).verbs() == ["list", "postpone"]


def test_what_nobody_can_tell_any_more_is_not_paid_for_again() -> None:
    purged = Prediction("purged000", "succeeded", data_removed=True)
    noted = generate(sent(4000.0), listed=Listed((purged,)))

    assert noted.happened[-1] == ("close_failed", "unresolved", 0)


def test_of_two_predictions_by_mishap_the_other_is_canceled() -> None:
    two = Listed((replace(prediction("starting"), id="theother0"), prediction("succeeded")))
    noted = generate(sent(5.0), listed=two, looks=[DONE])

    assert noted.about("cancel") == [("theother0",)]
    assert noted.about("record_prediction") == [(AN_ID,)]


def test_a_prediction_of_another_generation_is_left_alone() -> None:
    noted = generate(sent(5.0), listed=Listed((prediction("starting"),)), known={AN_ID})

    assert noted.verbs() == ["list", "postpone"]


# Adoption, leases and stops.


def test_an_adopted_prediction_is_watched_and_not_paid_for() -> None:
    claim = adopted(prompt="a cat", prediction_id=AN_ID)

    assert generate(claim, looks=[DONE]).verbs() == ["GET", "close_succeeded"]


def test_an_adopted_request_is_looked_up_and_not_paid_for() -> None:
    noted = generate(sent(5.0), listed=Listed((prediction("starting"),)), looks=[DONE])

    assert noted.verbs() == ["list", "record_prediction", "GET", "close_succeeded"]


@pytest.mark.parametrize(
    ("lost_at", "last"),
    [
        ("record_request", "record_request"),  # nothing is sent
        ("record_prediction", "record_prediction"),  # the new holder finds it in the list
        ("close_succeeded", "close_succeeded"),
    ],
)
def test_whose_lease_is_lost_drops_the_work_and_touches_nothing(lost_at: str, last: str) -> None:
    noted = generate(creates=[STARTED], looks=[DONE], lost_at=lost_at)

    assert noted.verbs()[-1] == last
    assert len(noted.about("POST")) == (lost_at != "record_request")


def test_a_stop_leaves_the_prediction_to_the_next_worker() -> None:
    noted = generate(creates=[STARTED], stops=True)

    assert noted.verbs() == ["record_request", "POST", "record_prediction"]


def test_a_database_that_goes_away_is_waited_for() -> None:
    away: list[Exception] = [psycopg.OperationalError("gone"), psycopg.OperationalError("gone")]
    noted = generate(creates=[STARTED], looks=[DONE], away=away)

    assert noted.verbs()[:4] == ["record_request"] * 3 + ["POST"]
    assert noted.verbs()[-1] == "close_succeeded"


# A fallback or an adopted generation asks in its turn.


def busy_gate(per_second: float) -> Gate:
    """A gate whose last turn has just been taken."""
    gate = Gate("worker-0", CreatePace(per_second / SHARE))
    gate.goes_ahead(99)
    return gate


def test_what_was_left_before_its_request_waits_for_its_turn_and_is_sent() -> None:
    noted = generate(adopted(), creates=[STARTED], looks=[DONE], gate=busy_gate(5.0))

    assert noted.verbs()[:2] == ["record_request", "POST"]


def test_a_turn_that_is_far_off_holds_no_slot() -> None:
    noted = generate(adopted(), gate=busy_gate(0.1))

    assert noted.verbs() == ["postpone"]


def test_nothing_is_sent_through_a_closed_gate_and_a_day_before_it_is_given_up() -> None:
    gate = open_gate()
    gate.close(Refused(Reason.NO_CREDIT, "no"), 99)

    assert generate(adopted(), gate=gate).verbs() == ["postpone"]
    old = adopted(opened_seconds_ago=GIVE_UP_AFTER_SECONDS + 1)
    assert generate(old, gate=gate).about("close_refused")[0][0] == "no_credit"


# An earlier request of the token that was not in the list when it had settled.

DOUBTED = replace(NEW, doubted_seeds=[41], doubted_at=NOW, doubted_seconds_ago=70.0)


def test_what_shows_up_late_is_taken_instead_of_paying_again() -> None:
    late = Listed((prediction("processing", seed=41),))
    noted = generate(DOUBTED, listed=late, looks=[DONE])

    assert noted.verbs() == [
        "list",
        "record_request",
        "record_prediction",
        "GET",
        "close_succeeded",
    ]


def test_what_did_not_show_up_is_sent_again() -> None:
    noted = generate(DOUBTED, creates=[STARTED], looks=[DONE])

    assert noted.verbs()[:3] == ["list", "record_request", "POST"]


def test_nothing_is_sent_again_while_the_list_cannot_be_read() -> None:
    assert generate(DOUBTED, listed=Rejected(503)).verbs() == ["list", "postpone"]
