"""The recipe where an earlier request of the token may have made a prediction after all."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from imagegen.failures import Reason
from imagegen.queue import Claim, Doubt, EarlierRequest
from imagegen.replicate import ENDLESS_LIST
from imagegen.replicate.replies import Answered, Listed, Prediction, Rejected
from tests.support.generation_claims import (
    AN_ID,
    AN_IMAGE,
    DONE,
    NEW,
    NOW,
    STARTED,
    adopted,
    prediction,
    sent,
)
from tests.support.generation_runs import SETTLE_SECONDS, generate, open_gate

pytestmark = pytest.mark.usefixtures("without_waiting")

PURGED = Prediction("purged000", "succeeded", data_removed=True, model="owner/name")
TAKEN = ["list", "record_found", "GET", "complete"]
UNRESOLVED = ("fail_attempt", "unresolved", "failed")

# A request that was not in the list when it had settled.

EARLIER = EarlierRequest(41, "a cat", NOW, 7000.0)
WITH_EARLIER = replace(NEW, unresolved=(EARLIER,))


def test_what_shows_up_late_is_taken_instead_of_paying_again() -> None:
    late = Listed((prediction("processing", seed=41),))
    calls = generate(WITH_EARLIER, listed=late, looks=[DONE])

    assert calls.verbs() == TAKEN


def test_what_did_not_show_up_is_sent_again() -> None:
    calls = generate(WITH_EARLIER, creates=[STARTED], looks=[DONE])

    assert calls.verbs()[:3] == ["list", "record_request", "POST"]


def test_nothing_is_sent_again_while_the_list_may_lag() -> None:
    just_now = replace(NEW, unresolved=(EARLIER, replace(EARLIER, requested_seconds_ago=4.0)))
    calls = generate(just_now)

    assert calls.verbs() == ["list", "postpone"]
    assert calls.about("postpone") == [(8.0,)]


def test_nothing_is_sent_again_while_the_list_cannot_be_read() -> None:
    assert generate(WITH_EARLIER, listed=Rejected(503)).verbs() == ["list", "postpone"]


def test_what_the_first_pages_show_is_taken_though_others_cannot_be_read() -> None:
    late = Listed((prediction("processing", seed=41),), missing=Rejected(503))

    assert generate(WITH_EARLIER, listed=late, looks=[DONE]).verbs() == TAKEN


def test_what_the_list_no_longer_shows_is_not_paid_for_again() -> None:
    assert generate(WITH_EARLIER, listed=Listed((PURGED,))).happened[-1] == UNRESOLVED


def test_without_a_marker_it_is_known_again_by_its_prompt() -> None:
    late = Listed((prediction("processing", seed=None),))

    assert generate(WITH_EARLIER, listed=late, looks=[DONE], marker_input=None).verbs() == TAKEN


def test_of_two_requests_the_one_that_made_something_is_taken() -> None:
    two = replace(NEW, unresolved=(EARLIER, replace(EARLIER, seed=40)))
    late = Listed((prediction("processing", seed=40),))

    assert generate(two, listed=late, looks=[DONE]).verbs() == TAKEN


@pytest.mark.parametrize("listed", [Listed((PURGED,)), Listed(())])
def test_a_person_who_wants_another_image_gets_one(listed: Listed) -> None:
    written_off = replace(EARLIER, written_off=True, account="former")
    claim = replace(NEW, unresolved=(written_off,))
    calls = generate(claim, listed=listed, account="new", creates=[STARTED], looks=[DONE])

    assert "POST" in calls.verbs()


# Requests that the database has forgotten.

SINCE = datetime.fromisoformat(NOW)
DOUBT = Doubt([42, 43, 44], NOW, 100.0, "2026-01-01T12:00:40.000000Z", 61.0)
IN_DOUBT = replace(NEW, doubt=DOUBT)
JUST_NOW = replace(NEW, doubt=replace(DOUBT, noticed_seconds_ago=10.0))


@pytest.mark.parametrize("claim", [IN_DOUBT, JUST_NOW])
@pytest.mark.parametrize("seed", DOUBT.seeds)
def test_what_a_forgotten_request_made_is_taken_at_once(claim: object, seed: int) -> None:
    listed = Listed((prediction("processing", seed=seed),))
    calls = generate(claim, listed=listed, looks=[DONE])  # type: ignore[arg-type]

    assert calls.verbs() == TAKEN
    assert calls.about("complete") == [(AN_IMAGE,)]


def test_nothing_is_sent_before_what_was_forgotten_must_be_in_the_list() -> None:
    calls = generate(JUST_NOW)

    assert calls.verbs() == ["list", "postpone"]
    assert calls.about("postpone") == [(SETTLE_SECONDS - 10.0,)]


def test_what_made_nothing_is_sent_then() -> None:
    calls = generate(IN_DOUBT, creates=[STARTED], looks=[DONE])

    assert calls.verbs() == [
        "list", "record_request", "POST", "record_prediction", "GET", "complete",
    ]  # fmt: skip


def test_nothing_is_sent_in_doubt_while_the_list_cannot_be_read() -> None:
    assert generate(IN_DOUBT, listed=Rejected(503)).verbs() == ["list", "postpone"]


LONG_IN_DOUBT = replace(
    NEW, opened_seconds_ago=90_000.0, doubt=replace(DOUBT, noticed_seconds_ago=90_000.0)
)


@pytest.mark.parametrize("claim", [WITH_EARLIER, IN_DOUBT, LONG_IN_DOUBT])
def test_a_list_that_cannot_be_read_holds_back_its_token_alone(claim: Claim) -> None:
    gate = open_gate()

    generate(claim, listed=Rejected(503), gate=gate)

    assert gate.allows(1) == 1
    assert gate.admit_waiting(2).wait_seconds == 0.0


@pytest.mark.parametrize("claim", [WITH_EARLIER, IN_DOUBT, LONG_IN_DOUBT])
def test_a_list_that_refuses_the_api_token_closes_the_gate(claim: Claim) -> None:
    gate = open_gate()

    generate(claim, listed=Rejected(401, "Unauthenticated"), gate=gate)

    assert gate.allows(1) == 0
    assert gate.admit_waiting(2).reason is Reason.UNAUTHORIZED


@pytest.mark.parametrize(
    ("claim", "ends_with"),
    [
        (LONG_IN_DOUBT, UNRESOLVED),
        (replace(WITH_EARLIER, opened_seconds_ago=90_000.0), UNRESOLVED),
        # The doubt, or the generation, is a minute old.
        (replace(LONG_IN_DOUBT, doubt=DOUBT), ("postpone", 30.0)),
        (replace(LONG_IN_DOUBT, opened_seconds_ago=60.0), ("postpone", 30.0)),
    ],
)
def test_a_token_does_not_wait_for_ever_for_a_list_that_cannot_be_read(
    claim: Claim, ends_with: tuple[object, ...]
) -> None:
    assert generate(claim, listed=Rejected(503)).happened[-1] == ends_with


@pytest.mark.parametrize("listed", [Listed((PURGED,)), Listed((), ENDLESS_LIST)])
def test_what_may_be_ours_and_cannot_be_told_any_more_is_not_paid_for_again(
    listed: Listed,
) -> None:
    assert generate(IN_DOUBT, listed=listed).happened[-1] == UNRESOLVED


@pytest.mark.parametrize(
    "others",
    [
        replace(PURGED, model="other/model"),
        replace(PURGED, created_at=datetime(2025, 12, 31, tzinfo=UTC)),
        replace(PURGED, id=AN_ID),
    ],
    ids=["another model", "another time", "another generation"],
)
def test_what_others_made_burns_no_token(others: Prediction) -> None:
    listed = Listed((others,))
    calls = generate(IN_DOUBT, listed=listed, known={AN_ID}, creates=[STARTED], looks=[DONE])

    assert "POST" in calls.verbs()


# Another account at Replicate.

OF_FORMER = replace(sent(5.0), account="former")


def test_another_accounts_list_says_nothing_of_a_request() -> None:
    calls = generate(OF_FORMER, account="new", listed=Listed((prediction("starting"),)))

    assert calls.happened == [UNRESOLVED]


def test_a_new_token_of_the_same_account_changes_nothing() -> None:
    calls = generate(OF_FORMER, account="former", listed=Listed((prediction("starting"),)),
                     looks=[DONE])  # fmt: skip

    assert calls.verbs()[-1] == "complete"


def test_while_nobody_knows_whose_the_list_is_nothing_is_decided() -> None:
    late = replace(sent(4000.0), account="former")

    assert generate(late, account=None).verbs() == ["list", "postpone"]


def test_an_earlier_request_of_another_account_is_not_paid_for_again() -> None:
    claim = replace(NEW, unresolved=(replace(EARLIER, account="former"),))

    assert generate(claim, account="new").happened[-1] == UNRESOLVED


def test_a_prediction_of_another_account_that_is_not_found_is_not_paid_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("imagegen.worker.polling.MISSING_SECONDS", 0.0)
    made = adopted(
        prediction_id=AN_ID, account="former", requested_at=NOW, requested_seconds_ago=70.0
    )
    missing = Rejected(404, "", "not found")
    calls = generate(made, account="new", looks=[missing, missing], replace_lost=True)

    assert calls.happened[-1] == UNRESOLVED


def test_a_request_is_recorded_with_its_account_and_the_model_that_it_is_sent_to() -> None:
    calls = generate(replace(NEW, model="former/model"), account="new", creates=[STARTED],
                     looks=[Answered(prediction("succeeded", [AN_IMAGE]))])  # fmt: skip

    assert calls.about("POST")[0][0] == "owner/name"
