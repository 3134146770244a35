"""The recipe where nobody knows what became of a request: it is looked for, not sent again."""

import itertools
from dataclasses import replace

import pytest

from imagegen.replicate.replies import Listed, NoAnswer, NotSent, Prediction, Rejected, Reply
from imagegen.worker import generation
from tests.support.generation_claims import A_LATER_ONE, AN_ID, DONE, UNCLEAR, prediction, sent
from tests.support.generation_runs import generate

pytestmark = pytest.mark.usefixtures("without_waiting")


@pytest.mark.parametrize("reply", [UNCLEAR, Rejected(500), Rejected(504), Rejected(408)])
def test_an_unknown_outcome_is_looked_up_and_never_sent_again(reply: Reply) -> None:
    calls = generate(creates=[reply], listed=Listed((prediction("succeeded"),)), looks=[DONE])

    assert calls.verbs() == [
        "record_request", "POST", "list", "record_prediction", "GET", "complete",
    ]  # fmt: skip


def test_a_prediction_that_is_not_listed_yet_is_looked_for_again_later() -> None:
    calls = generate(creates=[UNCLEAR])

    assert calls.verbs() == ["record_request", "POST", "list", "postpone"]


@pytest.mark.parametrize(("age_seconds", "slack_seconds"), [(59.0, 30.0), (60.0, 120.0)])
def test_the_list_is_read_further_back_when_what_it_does_not_hold_counts(
    age_seconds: float, slack_seconds: float
) -> None:
    [(since,)] = generate(sent(age_seconds)).about("list")

    assert (since.at.isoformat(), since.seconds_ago) == ("2026-01-01T12:00:00+00:00", age_seconds)
    assert since.slack_seconds == slack_seconds


def test_an_answer_that_was_waited_for_is_looked_for_since_it_was_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = itertools.count(1000.0, 15.0)
    monkeypatch.setattr(generation, "boottime", lambda: next(times))

    [(since,)] = generate(creates=[UNCLEAR]).about("list")

    assert since.seconds_ago == 15.0


@pytest.mark.parametrize(
    ("age_seconds", "again_seconds"), [(0.0, 2.0), (4.0, 8.0), (30.0, 35.0), (59.0, 6.0)]
)
def test_it_looks_more_seldom_with_time_and_when_the_settle_time_is_over(
    age_seconds: float, again_seconds: float
) -> None:
    assert generate(sent(age_seconds)).about("postpone") == [(again_seconds,)]


@pytest.mark.parametrize(
    ("age_seconds", "listed"), [(62.0, A_LATER_ONE), (301.0, Listed(()))], ids=["busy", "at rest"]
)
def test_what_never_showed_up_was_not_made_and_costs_no_attempt(
    age_seconds: float, listed: Listed
) -> None:
    calls = generate(sent(age_seconds), listed=listed)

    assert calls.verbs() == ["list", "requeue"]
    assert calls.about("requeue") == [("unavailable", 0.0)]


@pytest.mark.parametrize("listed", [Listed(()), replace(A_LATER_ONE, sent_at=None)])
def test_what_a_list_that_may_lag_does_not_show_is_looked_for_again(listed: Listed) -> None:
    calls = generate(sent(100.0), listed=listed)

    assert calls.verbs() == ["list", "postpone"]
    assert calls.about("postpone") == [(40.0,)]


@pytest.mark.parametrize("listed", [Rejected(500), Rejected(401), NotSent("no"), UNCLEAR])
@pytest.mark.parametrize("age_seconds", [5.0, 4000.0])
def test_a_list_that_cannot_be_read_proves_nothing_however_late(
    listed: Rejected | NotSent | NoAnswer, age_seconds: float
) -> None:
    assert generate(sent(age_seconds), listed=listed).verbs() == ["list", "postpone"]


def test_what_nobody_can_tell_any_more_is_not_paid_for_again() -> None:
    purged = Prediction("purged000", "succeeded", data_removed=True)
    calls = generate(sent(4000.0), listed=Listed((purged,)))

    assert calls.happened[-1] == ("fail_attempt", "unresolved", "failed")


def test_of_two_predictions_by_mishap_the_other_is_canceled() -> None:
    two = Listed((replace(prediction("starting"), id="theother0"), prediction("succeeded")))
    calls = generate(sent(5.0), listed=two, looks=[DONE])

    assert calls.about("cancel") == [("theother0",)]
    assert calls.about("record_prediction") == [(AN_ID,)]


def test_a_duplicate_is_on_record_before_it_is_canceled() -> None:
    two = Listed((replace(prediction("starting"), id="theother0"), prediction("succeeded")))
    verbs = generate(sent(5.0), listed=two, looks=[DONE]).verbs()

    assert verbs.index("record_duplicate") < verbs.index("cancel")


def test_a_duplicate_is_left_to_the_worker_that_holds_the_lease() -> None:
    two = Listed((replace(prediction("starting"), id="theother0"), prediction("succeeded")))
    calls = generate(sent(5.0), listed=two, lost_at="record_duplicate")

    assert calls.verbs() == ["list", "record_duplicate"]


def test_a_prediction_of_another_generation_is_left_alone() -> None:
    calls = generate(sent(5.0), listed=Listed((prediction("starting"),)), known={AN_ID})

    assert calls.verbs() == ["list", "postpone"]
