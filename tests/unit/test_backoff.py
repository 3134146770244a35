"""Delays that grow, and their jitter."""

from imagegen.backoff import exponential, jittered


def test_a_delay_doubles_with_each_failure_up_to_its_limit() -> None:
    delays = [exponential(n, first_seconds=1.0, most_seconds=30.0) for n in range(8)]

    assert delays == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_a_delay_stays_at_its_limit_after_any_number_of_failures() -> None:
    assert exponential(100_000, first_seconds=1.0, most_seconds=30.0) == 30.0


def test_jitter_stays_within_its_part() -> None:
    assert all(8.0 <= jittered(10.0, 0.2) <= 12.0 for _ in range(1000))
