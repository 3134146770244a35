"""Watching a prediction that was paid for: until it ends, however badly it can be seen."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from imagegen.metrics import definitions as metrics
from imagegen.queue import Claim
from imagegen.replicate.replies import (
    Answered,
    Listed,
    NoAnswer,
    NotSent,
    Prediction,
    Rejected,
    Reply,
)
from imagegen.worker import polling, settlement
from imagegen.worker.image_copies import ImageCopies
from tests.support.generation_runs import (
    A_LATER_ONE,
    AN_ID,
    AN_IMAGE,
    DONE,
    GIVE_UP_AFTER_SECONDS,
    NEW,
    NOW,
    STARTED,
    NoWaits,
    adopted,
    generate,
    open_gate,
    prediction,
)

GONE = Rejected(404, "", "The requested resource could not be found.")
# Replicate itself should have ended it a minute ago.
OVERDUE = adopted(
    prompt="a cat", prediction_id=AN_ID, requested_at=NOW, requested_seconds_ago=361.0
)


class Slow:
    """A clock on which every look takes so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._now, self._seconds = 1000.0, seconds

    def monotonic(self) -> float:
        self._now += self._seconds
        return self._now


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "PollSchedule", NoWaits)


@pytest.fixture
def slow_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "time", Slow(25.0))


def adopted_after(seconds: float) -> Claim:
    return adopted(
        prompt="a cat", prediction_id=AN_ID, requested_at=NOW, requested_seconds_ago=seconds
    )


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


# What a prediction brings.

WITHIN_OUTPUT = Answered(
    prediction("succeeded", ["data:image/webp;base64,UklGRhAAAABXRUJQVlA4IAQAAAA="])
)
NOTHING = Answered(prediction("succeeded", []))
UNREADABLE = Answered(prediction("succeeded", "hello"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "kept images"
    folder.mkdir()
    return folder


@pytest.fixture
def copies(folder: Path) -> Iterator[ImageCopies]:
    with contextlib.closing(ImageCopies(folder)) as copies:
        yield copies


def test_an_image_within_the_output_is_handed_on_with_the_url_of_its_copy(
    folder: Path, copies: ImageCopies
) -> None:
    calls = generate(creates=[STARTED], looks=[WITHIN_OUTPUT], copies=copies)

    (file,) = folder.iterdir()
    assert file.name == "7-1.webp"
    assert calls.about("complete") == [(file.as_uri(),)]


def test_an_image_within_the_output_waits_at_replicate_while_it_cannot_be_kept(
    folder: Path, copies: ImageCopies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settlement, "COPY_AGAIN_SECONDS", 0.0)
    folder.rmdir()
    calls = generate(creates=[STARTED], looks=[WITHIN_OUTPUT], copies=copies)

    assert calls.verbs()[-2:] == ["GET", "postpone"]


@pytest.mark.parametrize(
    ("unreadable", "ending"),
    [
        (NOTHING, ("no_output", "waits")),
        (UNREADABLE, ("unreadable", "failed")),
        (WITHIN_OUTPUT, ("unreadable", "failed")),
    ],
)
def test_an_output_that_cannot_be_read_is_read_again_for_a_minute(
    unreadable: Answered, ending: tuple[str, str]
) -> None:
    calls = generate(creates=[STARTED], looks=[unreadable])
    assert calls.happened[-1] == ("postpone", 30.0)
    calls = generate(adopted_after(59.0), looks=[DONE])
    assert calls.about("complete") == [(AN_IMAGE,)]

    calls = generate(adopted_after(61.0), looks=[unreadable])
    assert calls.about("fail_attempt") == [ending]


def test_an_output_is_read_again_as_long_as_those_of_others_cannot_be_read_either() -> None:
    gate = open_gate()
    generate(adopted_after(61.0), looks=[UNREADABLE], gate=gate)
    other = replace(adopted_after(61.0), token_id=8)
    assert generate(other, looks=[UNREADABLE], gate=gate).verbs() == ["GET", "postpone"]
    gate.record_image()

    assert generate(other, looks=[UNREADABLE], gate=gate).verbs() == ["GET", "fail_attempt"]


@pytest.mark.parametrize("unreadable", [NOTHING, UNREADABLE, WITHIN_OUTPUT])
def test_two_outputs_in_a_row_that_cannot_be_read_close_the_gate_until_an_image_is_seen(
    unreadable: Answered,
) -> None:
    gate = open_gate()
    generate(creates=[STARTED], looks=[unreadable], gate=gate)
    assert gate.allows(10) == 10
    generate(replace(NEW, token_id=8), creates=[STARTED], looks=[unreadable], gate=gate)
    assert gate.allows(10) == 0
    generate(adopted(prediction_id=AN_ID), looks=[DONE], gate=gate)

    assert gate.allows(10) == 10


def test_images_that_were_held_back_close_no_gate() -> None:
    gate = open_gate()
    held_back = Answered(prediction("succeeded", [], logs="NSFW content detected"))
    for _ in range(3):
        generate(adopted(prediction_id=AN_ID, fallback=True), looks=[held_back], gate=gate)

    assert gate.allows(10) == 10
