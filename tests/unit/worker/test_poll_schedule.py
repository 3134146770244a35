"""When a prediction is polled: seldom enough for the budget, soon enough for the user."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from imagegen.worker.poll_schedule import (
    JITTER,
    LARGEST_STEP,
    LONGEST_START_SECONDS,
    LONGEST_STEP_SECONDS,
    TIMES,
    PollSchedule,
)

# 3000 a minute for 20 slots.
EACH_SLOT = 2.5
# Measured before the simulation counts.
WARM_UP = 2 * TIMES
PREDICTIONS = 2000

Times = Callable[[random.Random], float]


@pytest.fixture(autouse=True)
def same_jitter() -> None:
    random.seed(1)


def schedule_that_saw(*totals: float | None, each_slot: float = EACH_SLOT) -> PollSchedule:
    schedule = PollSchedule(each_slot)
    for total in totals:
        schedule.learn(total, total)
    return schedule


def first_wait(schedule: PollSchedule) -> float:
    return schedule.wait_seconds(0.0)


def ages_until(schedule: PollSchedule, seconds: float) -> list[float]:
    """Return the ages at which a prediction of `seconds` is polled, the last one after its end."""
    ages = [0.0]
    while ages[-1] < seconds:
        ages.append(ages[-1] + schedule.wait_seconds(ages[-1]))
    return ages[1:]


@dataclass(frozen=True)
class Course:
    """What many predictions came to, one after the other."""

    late: float  # of their time, from the end of each to the answer that shows it
    polls: float  # for each
    polls_per_second: float


def simulate(take: Times, *, latency: float = 0.0, each_slot: float = EACH_SLOT) -> Course:
    """Poll predictions that take such times, by a schedule that learns from them.

    A request and its answer are on their way for half of `latency` each.
    """
    times = random.Random(1)
    schedule = PollSchedule(each_slot)
    total = late = polls = 0.0
    for number in range(WARM_UP + PREDICTIONS):
        seconds = take(times)
        since_answer = arrived = 0.0
        counted = number >= WARM_UP
        while arrived < seconds:
            since_answer += schedule.wait_seconds(since_answer)
            arrived = since_answer + latency
            since_answer += latency
            schedule.learn_round_trip(latency)
            polls += counted
        schedule.learn(seconds, seconds)
        if counted:
            total += seconds
            late += arrived + latency / 2 - seconds
    return Course(late / total, polls / PREDICTIONS, polls / (total + late))


def lognormal(times: random.Random) -> float:
    """Half of them take 1 s at most, and 95 % of them 4 s."""
    return math.exp(times.gauss(0, math.log(4) / 1.645))


def always(seconds: float) -> Times:
    return lambda times: seconds


def around(seconds: float, scatter: float) -> Times:
    return lambda times: times.gauss(seconds, seconds * scatter)


def bimodal(times: random.Random) -> float:
    """Sometimes a machine has to be started first."""
    return 1.0 if times.random() < 0.95 else 20.0


@pytest.mark.parametrize(
    ("take", "latency", "late", "polls"),
    [
        (lognormal, 0.0, 0.18, 3.9),
        (lognormal, 0.05, 0.22, 3.6),
        (always(1.0), 0.0, 0.01, 1.0),
        (always(1.0), 0.05, 0.04, 1.0),
        (always(60.0), 0.05, 0.01, 1.0),
        (around(1.0, 0.05), 0.0, 0.04, 2.3),
        (around(30.0, 0.1), 0.05, 0.03, 6.0),
        (around(60.0, 0.2), 0.05, 0.04, 9.0),
        (bimodal, 0.05, 0.05, 4.0),
    ],
)
def test_images_are_noticed_early_by_few_polls(
    take: Times, latency: float, late: float, polls: float
) -> None:
    course = simulate(take, latency=latency)

    assert course.late <= late
    assert course.polls <= polls


@pytest.mark.parametrize(
    "take",
    [
        lognormal,
        around(1.0, 0.05),
        around(1.0, 0.2),
        lambda times: 0.1 + times.expovariate(1),
    ],
)
@pytest.mark.parametrize("each_slot", [1.25, 2.5])
def test_slots_that_are_all_at_work_leave_a_part_of_the_budget(
    take: Times, each_slot: float
) -> None:
    assert simulate(take, each_slot=each_slot).polls_per_second <= each_slot * 0.95


def test_a_larger_budget_makes_images_earlier() -> None:
    assert simulate(lognormal, each_slot=4 * EACH_SLOT).late < 0.08


def test_before_anything_was_measured_the_first_poll_comes_after_the_published_time() -> None:
    assert first_wait(PollSchedule(EACH_SLOT)) == pytest.approx(0.9, abs=0.05)


@pytest.mark.parametrize("seconds", [2.0, 45.0])
def test_the_first_poll_comes_just_after_the_typical_time(seconds: float) -> None:
    assert seconds < first_wait(schedule_that_saw(*[seconds] * TIMES)) < seconds + 0.1


def test_the_time_of_the_requests_themselves_is_no_delay() -> None:
    schedule = schedule_that_saw(*[1.0] * TIMES)
    for seconds in (0.2, 0.1, 5.0):  # the last one waited for the budget
        schedule.learn_round_trip(seconds)

    assert 0.9 < first_wait(schedule) < 0.92


@pytest.mark.parametrize("before", [0, 1, TIMES - 1])
def test_one_slow_image_delays_no_other(before: int) -> None:
    assert first_wait(schedule_that_saw(*[0.9] * before, 500.0)) < 1.0


def test_a_burst_of_cold_starts_delays_the_next_image_by_seconds_only() -> None:
    schedule = PollSchedule(EACH_SLOT)
    for _ in range(TIMES):
        schedule.learn(300.0, 0.8)

    assert first_wait(schedule) == pytest.approx(0.8 + LONGEST_START_SECONDS, abs=0.1)
    assert len(ages_until(schedule, 300.0)) <= 12


def test_what_was_slow_long_ago_is_forgotten() -> None:
    assert first_wait(schedule_that_saw(*[9.0] * TIMES, *[0.7] * TIMES)) < 1.0


def test_a_prediction_that_says_no_time_teaches_nothing() -> None:
    schedule = schedule_that_saw(None, *[3.0] * TIMES, None)

    assert first_wait(schedule) == pytest.approx(3.0, abs=0.05)


@pytest.mark.parametrize("each_slot", [EACH_SLOT, 1e6])
def test_instant_predictions_are_not_asked_for_in_a_busy_loop(each_slot: float) -> None:
    schedule = schedule_that_saw(*[0.0] * TIMES, each_slot=each_slot)

    assert all(schedule.wait_seconds(age) >= 0.05 for age in (0.0, 0.01, 0.1))


@pytest.mark.parametrize("seconds", [1e12, math.inf])
def test_however_wrong_the_times_are_a_prediction_is_polled_each_minute(seconds: float) -> None:
    assert first_wait(schedule_that_saw(*[seconds] * TIMES)) <= 60.0


@pytest.mark.parametrize("typical", [0.1, 0.3, 0.7, 0.9, 1.0, 3.0, 30.0])
def test_a_generation_of_a_minute_costs_at_most_twenty_polls(typical: float) -> None:
    schedule = schedule_that_saw(*[typical] * TIMES)

    assert all(len(ages_until(schedule, 60.0)) <= 20 for _ in range(100))


def test_one_that_takes_longer_than_usual_is_noticed_within_half_its_time_and_ten_seconds() -> None:
    for seconds in (1.5, 2.0, 3.0, 10.0, 60.0, 300.0):
        late = ages_until(schedule_that_saw(*[1.0] * TIMES), seconds)[-1] - seconds
        assert late <= min(seconds * LARGEST_STEP, LONGEST_STEP_SECONDS) * (1 + JITTER)


def test_an_adopted_prediction_is_polled_according_to_its_age() -> None:
    schedule = schedule_that_saw(*[30.0] * TIMES)

    assert schedule.wait_seconds(10.0) == pytest.approx(20.0, abs=0.1)
    assert schedule.wait_seconds(-5.0) == pytest.approx(30.0, abs=0.1)


def test_slots_that_started_together_do_not_poll_together() -> None:
    schedule = schedule_that_saw(*[1.0] * TIMES)

    assert len({tuple(ages_until(schedule, 3.0)) for _ in range(10)}) == 10
