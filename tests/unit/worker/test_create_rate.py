"""How fast a worker asks: at its share, slower when refused, and soon as fast as it was."""

import pytest

from imagegen.worker import create_rate
from imagegen.worker.create_rate import CreateRate
from tests.support.fake_clock import FakeClock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock()
    monkeypatch.setattr(create_rate, "time", clock)
    return clock


def leaves_in(pace: CreateRate, clock: FakeClock, seconds: float) -> int:
    """Return how many leave in `seconds`, if each leaves as soon as it may."""
    left, end = 0, clock.now + seconds
    while clock.now < end:
        for _ in range(pace.ready()):
            pace.spend()
            left += 1
        clock.passes(min(max(pace.next_seconds(), 0.001), end - clock.now))
    return left


def test_a_worker_starts_at_its_share(clock: FakeClock) -> None:
    assert leaves_in(CreateRate(5.0), clock, 60.0) == pytest.approx(300, rel=0.05)


def test_at_a_slow_pace_two_never_leave_together(clock: FakeClock) -> None:
    pace = CreateRate(5.0)
    clock.passes(3600.0)

    assert pace.ready() == 1


def test_at_a_fast_pace_some_leave_together(clock: FakeClock) -> None:
    pace = CreateRate(100.0)
    clock.passes(3600.0)

    assert 2 <= pace.ready() <= 15


def test_a_refusal_halves_the_pace(clock: FakeClock) -> None:
    pace = CreateRate(5.0)
    before = pace.per_second
    pace.refused(1.0)

    assert pace.per_second == before / 2


def test_after_an_idle_night_the_next_burst_begins_at_full_pace(clock: FakeClock) -> None:
    pace = CreateRate(5.0)
    before = pace.per_second
    for _ in range(5):
        pace.refused(30.0)
    clock.passes(8 * 3600.0)
    pace.ready()

    assert pace.per_second == before


def test_a_slow_pace_that_is_used_up_is_not_idle(clock: FakeClock) -> None:
    pace = CreateRate(5.0)
    pace.refused(10.0)
    leaves_in(pace, clock, 600.0)

    assert pace.per_second == 0.1


def test_after_a_long_wait_the_pace_is_at_most_one_in_that_time(clock: FakeClock) -> None:
    pace = CreateRate(5.0)
    pace.refused(10.0)

    assert pace.per_second == 0.1


def test_a_pace_that_was_nearly_right_is_soon_reached_again(clock: FakeClock) -> None:
    pace = CreateRate(5.0)
    for _ in range(100):
        pace.succeeded()
    pace.refused(1.0)
    for _ in range(20):
        pace.succeeded()

    assert pace.per_second > 5.0 * 0.8


def test_a_pace_that_was_far_off_is_approached_slowly(clock: FakeClock) -> None:
    pace = CreateRate(5.0)
    for _ in range(3):
        pace.refused(1.0)
    for _ in range(10):
        pace.succeeded()

    assert pace.per_second < 5.0 / 4


def test_however_low_the_pace_success_brings_it_back_to_the_share(clock: FakeClock) -> None:
    pace = CreateRate(5.0)
    for _ in range(20):
        pace.refused(120.0)
    seconds = 0.0
    while pace.per_second < 5.0 * create_rate.SHARE:
        seconds += 1 / pace.per_second
        pace.succeeded()
        assert seconds < 86_400

    assert pace.per_second == 5.0 * create_rate.SHARE
