"""When a prediction is looked at: seldom enough for the budget, soon enough for the user."""

from itertools import islice

import pytest

from imagegen.polling import JITTER, LONGEST_STEP_SECONDS, STEP, Pace


def pace_that_saw(*totals: float | None) -> Pace:
    pace = Pace()
    for total in totals:
        pace.learn(total)
    return pace


def first_wait(pace: Pace) -> float:
    return next(pace.waits())


def test_before_anything_was_measured_the_first_look_comes_after_the_published_time() -> None:
    assert first_wait(Pace()) == pytest.approx(0.7, abs=0.05)


def test_the_first_look_comes_just_after_the_typical_time() -> None:
    assert 2.0 < first_wait(pace_that_saw(2.0, 2.0, 2.0)) < 2.1


def test_one_slow_image_among_many_delays_no_other() -> None:
    assert first_wait(pace_that_saw(0.7, 0.7, 500.0)) < 1.0


def test_however_long_images_take_the_first_look_comes_after_ten_seconds() -> None:
    """One that was done sooner is not kept waiting for minutes by cold starts before it."""
    assert first_wait(pace_that_saw(*[300.0] * 20)) == pytest.approx(10.0, abs=0.05)


def test_what_was_slow_long_ago_is_forgotten() -> None:
    assert first_wait(pace_that_saw(*[9.0] * 20, *[0.7] * 20)) < 1.0


def test_a_prediction_that_says_no_time_teaches_nothing() -> None:
    assert first_wait(pace_that_saw(None, 3.0, None)) == pytest.approx(3.0, abs=0.05)


def test_instant_predictions_are_still_not_asked_for_in_a_busy_loop() -> None:
    assert all(wait >= 0.08 for wait in islice(pace_that_saw(0.0).waits(), 50))


def test_an_image_is_noticed_within_a_share_of_the_time_it_took() -> None:
    waits = islice(Pace().waits(), 200)
    passed = next(waits)
    for wait in waits:
        assert wait <= max(passed * STEP, 0.1) * (1 + JITTER)
        passed += wait


def test_steps_grow_to_five_seconds_and_no_further() -> None:
    late = list(islice(Pace().waits(), 100, 120))

    assert all(wait <= LONGEST_STEP_SECONDS * (1 + JITTER) for wait in late)
    assert all(wait >= LONGEST_STEP_SECONDS * (1 - JITTER) for wait in late)


def test_a_prediction_of_five_minutes_costs_fewer_than_100_looks() -> None:
    looks, passed = 0, 0.0
    for wait in Pace().waits():
        passed += wait
        looks += 1
        if passed > 300:
            break

    assert looks < 100


def test_slots_that_started_together_do_not_look_together() -> None:
    pace = Pace()

    assert len({tuple(islice(pace.waits(), 5)) for _ in range(10)}) == 10
