"""Watching a prediction that was paid for: until it ends, however badly it can be seen."""

import threading

import pytest

from imagegen.metrics import definitions as metrics
from imagegen.replicate import Succeeded
from imagegen.replicate.replies import (
    Answered,
    Listed,
    NoAnswer,
    NotSent,
    Prediction,
    Rejected,
    Reply,
)
from imagegen.worker import polling
from imagegen.worker.database_retry import DatabaseRetry
from imagegen.worker.polling import Poller
from tests.support.generation_claims import (
    A_LATER_ONE,
    AN_ID,
    AN_IMAGE,
    DONE,
    NOW,
    STARTED,
    adopted,
    adopted_after,
    prediction,
)
from tests.support.generation_runs import (
    GIVE_UP_AFTER_SECONDS,
    Calls,
    NoWaits,
    ScriptedClient,
    generate,
    open_gate,
)
from tests.support.settings import settings

GONE = Rejected(404, "", "The requested resource could not be found.")
# Replicate itself should have ended it a minute ago.
OVERDUE = adopted(
    prompt="a cat", prediction_id=AN_ID, requested_at=NOW, requested_seconds_ago=361.0
)


class Slow:
    """A clock on which every poll, which reads it twice, takes `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._now, self._seconds = 1000.0, seconds / 2

    def monotonic(self) -> float:
        self._now += self._seconds
        return self._now


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "PollSchedule", NoWaits)


@pytest.fixture
def slow_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "time", Slow(25.0))


def test_an_image_that_waits_for_its_copy_is_no_new_sign_that_the_model_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = open_gate()
    signs: list[bool] = []
    monkeypatch.setattr(gate, "record_image", lambda: signs.append(True))
    poller = Poller(
        settings(),
        client=ScriptedClient(
            Calls(), creates=[], looks=[DONE] * 3, listed=Listed(()), canceled=DONE, account=None
        ),
        gate=gate,
        retry=DatabaseRetry(threading.Event()),
        reconciler=None,  # type: ignore[arg-type]
        keeps_images=True,
    )

    for _ in range(3):
        assert isinstance(poller.poll(adopted_after(60.0), AN_ID), Succeeded)

    assert signs == [True]


@pytest.mark.parametrize("look", [Rejected(503), GONE, NotSent("no"), NoAnswer("ReadTimeout")])
def test_a_look_that_fails_is_followed_by_another(look: Reply) -> None:
    calls = generate(creates=[STARTED], looks=[look, look, DONE])

    assert calls.verbs()[-1] == "complete"
    assert len(calls.about("POST")) == 1


@pytest.mark.parametrize(
    "look", [Rejected(503), Rejected(401), NotSent("refused"), NoAnswer("ReadTimeout")]
)
def test_looks_that_fail_again_and_again_close_the_gate(look: Reply) -> None:
    gate = open_gate()
    calls = generate(creates=[STARTED], looks=[look] * 3 + [DONE], gate=gate)

    assert calls.verbs()[-1] == "complete"
    assert gate.allows(10) == 0


@pytest.mark.parametrize("look", [Rejected(429), GONE])
def test_a_limit_or_an_unknown_prediction_closes_no_gate(look: Reply) -> None:
    gate = open_gate()
    generate(creates=[STARTED], looks=[look] * 3 + [DONE], gate=gate)

    assert gate.allows(10) == 10


def test_a_look_that_fails_now_and_then_closes_no_gate() -> None:
    gate = open_gate()
    flaky: list[Reply] = [Rejected(503), Rejected(503), STARTED]
    generate(creates=[STARTED], looks=[*flaky, *flaky, DONE], gate=gate)

    assert gate.allows(10) == 10


# Predictions that Replicate does not know.


@pytest.mark.parametrize("age_seconds", [5.0, 300.0, 3_600.0])
def test_one_404_does_not_fail_an_adopted_prediction_however_old(age_seconds: float) -> None:
    calls = generate(adopted_after(age_seconds), looks=[GONE, DONE])

    assert calls.verbs() == ["GET", "GET", "complete"]


@pytest.mark.usefixtures("slow_looks")
def test_after_a_minute_of_nothing_but_404_nobody_pays_for_it_again() -> None:
    calls = generate(adopted_after(5.0), looks=[GONE] * 9, listed=A_LATER_ONE)

    assert calls.verbs() == ["GET", "GET", "GET", "list", "fail_attempt"]
    assert calls.about("fail_attempt") == [("gone", "failed")]


@pytest.mark.usefixtures("slow_looks")
@pytest.mark.parametrize(
    "listed", [Listed((prediction("processing"),)), Rejected(503), Listed(())],
    ids=["held", "unreadable", "perhaps lagging"],
)  # fmt: skip
def test_what_the_list_holds_or_cannot_tell_of_is_looked_at_later(
    listed: Listed | Rejected,
) -> None:
    calls = generate(adopted_after(5.0), looks=[GONE] * 9, listed=listed)

    assert calls.happened[-1] == ("postpone", 30.0)


def test_a_prediction_that_neither_ends_nor_can_be_cancelled_for_a_day_is_given_up() -> None:
    long_ago = adopted_after(GIVE_UP_AFTER_SECONDS + 1)
    calls = generate(long_ago, looks=[STARTED], canceled=Rejected(409, "", "no"))

    assert calls.about("fail_attempt") == [("unresolved", "failed")]


@pytest.mark.usefixtures("slow_looks")
def test_an_image_that_was_lost_is_paid_for_again_only_where_that_was_wished() -> None:
    paid_again = metrics.PAID_TWICE.labels("gone")
    before = paid_again._value.get()

    calls = generate(adopted_after(300.0), looks=[GONE] * 9, replace_lost=True)

    assert calls.about("fail_attempt") == [("gone", "waits")]
    assert paid_again._value.get() == before + 1


@pytest.mark.usefixtures("slow_looks")
@pytest.mark.parametrize("known", [STARTED, Rejected(503)])
def test_the_minute_begins_anew_with_every_other_answer(known: Reply) -> None:
    calls = generate(adopted_after(5.0), looks=[GONE, GONE, known, GONE, GONE, DONE])

    assert calls.about("complete") == [(AN_IMAGE,)]


def test_an_image_that_has_expired_is_not_handed_on() -> None:
    calls = generate(adopted_after(3600.0 + 361.0), looks=[DONE])

    assert calls.about("fail_attempt") == [("data_removed", "failed")]


# Predictions that do not end.


def test_a_prediction_that_never_ends_is_canceled() -> None:
    assert generate(OVERDUE, looks=[STARTED]).verbs()[:2] == ["GET", "cancel"]


def test_an_image_that_came_just_before_its_cancel_is_kept() -> None:
    calls = generate(OVERDUE, looks=[STARTED], canceled=DONE)

    assert calls.verbs() == ["GET", "cancel", "complete"]
    assert calls.about("complete") == [(AN_IMAGE,)]


@pytest.mark.parametrize(
    ("ended", "kind"),
    [
        (prediction("canceled"), ("canceled", "waits")),
        (prediction("aborted"), ("aborted", "waits")),
        (prediction("failed", error="the prompt is too long"), ("permanent", "failed")),
    ],
)
def test_a_canceled_prediction_that_has_ended_is_a_failed_attempt(
    ended: Prediction, kind: tuple[str, str]
) -> None:
    calls = generate(OVERDUE, looks=[STARTED], canceled=Answered(ended))

    assert calls.about("fail_attempt") == [kind]


@pytest.mark.parametrize(
    "answer", [STARTED, GONE, Rejected(500), Rejected(409), NotSent("no"), NoAnswer("ReadTimeout")]
)
def test_unless_it_surely_ended_it_is_looked_at_later_and_never_paid_for_twice(
    answer: Reply,
) -> None:
    calls = generate(OVERDUE, looks=[STARTED], canceled=answer)

    assert calls.verbs() == ["GET", "cancel", "postpone"]
    assert calls.happened[-1] == ("postpone", 30.0)


def test_a_prediction_that_cannot_be_read_for_a_day_is_given_up_and_not_paid_for_again() -> None:
    calls = generate(adopted_after(GIVE_UP_AFTER_SECONDS + 1), looks=[NoAnswer("not JSON")])

    assert calls.about("fail_attempt") == [("unresolved", "failed")]


def test_a_prediction_that_cannot_be_seen_for_long_holds_no_slot() -> None:
    assert generate(OVERDUE, looks=[Rejected(503)]).happened[-1] == ("postpone", 30.0)
