"""What a worker does with a decision that the database refuses, and with one that was kept."""

import pytest
from psycopg.errors import LockNotAvailable

from imagegen.queue import Applied, Claim, ClosingRefusedError, Complete, Decision, FailAttempt
from imagegen.worker import closings
from tests.support.generation_claims import AN_ID, AN_IMAGE, NOW, adopted
from tests.support.generation_runs import Calls, RecordingQueue, generate

IMAGE = Complete(AN_IMAGE, 0.7, 1)
HOUR = 3600.0
TWO_HOURS = 2 * HOUR


def kept(closing: Decision, refused_seconds: float = 20.0) -> Claim:
    """A claim of a generation whose closing was refused `refused_seconds` ago."""
    return adopted(
        prompt="a cat", prediction_id=AN_ID, requested_at=NOW,
        requested_seconds_ago=refused_seconds + 5.0, closing=closing,
        closing_refused_seconds=refused_seconds,
    )  # fmt: skip


def test_what_was_kept_is_written_and_replicate_is_not_asked_again() -> None:
    calls = generate(kept(IMAGE))

    assert calls.happened == [("complete", AN_IMAGE), ("hasten_closings",)]


def test_a_failure_that_was_kept_is_written_too() -> None:
    failure = FailAttempt("transient", "oh", token_fails=False, retry_seconds=1.0)

    assert generate(kept(failure)).about("fail_attempt") == [("transient", "waits")]


def test_after_an_hour_the_kept_copy_is_handed_on_in_place_of_the_deleted_image() -> None:
    copied = Complete(AN_IMAGE, 0.7, 1, "/images/7-1.webp", "abc")

    assert generate(kept(copied, TWO_HOURS)).about("complete") == [("file:///images/7-1.webp",)]
    assert generate(kept(copied, 0.9 * HOUR)).about("complete") == [(AN_IMAGE,)]


def test_after_an_hour_an_image_without_a_copy_is_lost_and_never_bought_again_unasked() -> None:
    calls = generate(kept(IMAGE, TWO_HOURS))

    assert calls.happened == [("fail_attempt", "data_removed", "failed")]


class Refusing(RecordingQueue):
    """Refuses each decision."""

    def __init__(self, calls: Calls, error: Exception) -> None:
        super().__init__(calls)
        self._error = error

    def apply(self, claim: Claim, decision: Decision) -> Applied | None:
        self._note("apply")
        raise self._error


@pytest.mark.parametrize("patience", [0.0, 0.2])
def test_a_row_that_is_locked_for_long_is_left_and_its_decision_kept(
    patience: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closings, "PATIENCE_SECONDS", patience)
    calls = generate(kept(IMAGE), queue=lambda calls: Refusing(calls, LockNotAvailable("locked")))

    assert calls.verbs()[-3:] == ["renew", "apply", "keep"]
    assert ("apply" in calls.verbs()[:-3]) == (patience > 0)
    assert calls.about("keep") == [(IMAGE, "locked")]


def test_a_refusal_is_kept_at_once() -> None:
    calls = generate(kept(IMAGE), queue=lambda calls: Refusing(calls, ClosingRefusedError("no")))

    assert calls.happened == [("apply",), ("keep", IMAGE, "no")]
