"""When a prediction is looked at: seldom enough for the budget, soon enough for the user."""

from itertools import islice

import pytest

from imagegen.worker.poll_schedule import JITTER, LARGEST_STEP, LONGEST_STEP_SECONDS, PollSchedule


def pace_that_saw(*totals: float | None) -> PollSchedule:
    pace = PollSchedule()
    for total in totals:
        pace.learn(total)
    return pace


def first_wait(pace: PollSchedule) -> float:
    return next(pace.waits())


def test_before_anything_was_measured_the_first_look_comes_after_the_published_time() -> None:
    assert first_wait(PollSchedule()) == pytest.approx(0.9, abs=0.05)


def test_the_first_look_comes_just_after_the_typical_time() -> None:
    assert 2.0 < first_wait(pace_that_saw(2.0, 2.0, 2.0)) < 2.1


def test_one_slow_image_delays_no_other() -> None:
    assert first_wait(pace_that_saw(500.0)) < 1.0


def test_however_long_images_take_the_first_look_comes_after_ten_seconds() -> None:
    """One that was done sooner is not kept waiting for minutes by cold starts before it."""
    assert first_wait(pace_that_saw(*[300.0] * 20)) == pytest.approx(10.0, abs=0.05)


def test_what_was_slow_long_ago_is_forgotten() -> None:
    assert first_wait(pace_that_saw(*[9.0] * 20, *[0.7] * 20)) < 1.0


def test_a_prediction_that_says_no_time_teaches_nothing() -> None:
    assert first_wait(pace_that_saw(None, 3.0, None, 3.0, 3.0)) == pytest.approx(3.0, abs=0.05)


def test_instant_predictions_are_still_not_asked_for_in_a_busy_loop() -> None:
    assert all(wait >= 0.08 for wait in islice(pace_that_saw(0.0).waits(), 50))


def looks_until(pace: PollSchedule, seconds: float) -> list[float]:
    """When a prediction that takes so long is looked at, the last time after its end."""
    looks = [0.0]
    waits = pace.waits()
    while looks[-1] < seconds:
        looks.append(looks[-1] + next(waits))
    return looks[1:]


@pytest.mark.parametrize(
    "pace", [PollSchedule(), pace_that_saw(1.0, 1.0, 1.0)], ids=["unmeasured", "measured"]
)
def test_a_generation_of_a_second_is_noticed_within_a_tenth_of_its_time(pace: PollSchedule) -> None:
    assert all(looks_until(pace, 1.0)[-1] <= 1.1 for _ in range(100))


@pytest.mark.parametrize("typical", [0.1, 0.3, 0.7, 1.0, 3.0, 30.0])
def test_a_generation_of_a_minute_costs_at_most_twenty_requests(typical: float) -> None:
    """One of them creates it."""
    pace = pace_that_saw(*[typical] * 20)

    assert all(1 + len(looks_until(pace, 60.0)) <= 20 for _ in range(100))


def test_one_that_takes_longer_than_usual_is_noticed_within_half_its_time_and_ten_seconds() -> None:
    for seconds in (1.5, 2.0, 3.0, 10.0, 60.0, 300.0):
        late = looks_until(pace_that_saw(1.0), seconds)[-1] - seconds
        assert late <= min(seconds * LARGEST_STEP, LONGEST_STEP_SECONDS) * (1 + JITTER)


def test_slots_that_started_together_do_not_look_together() -> None:
    pace = PollSchedule()

    assert len({tuple(islice(pace.waits(), 5)) for _ in range(10)}) == 10
