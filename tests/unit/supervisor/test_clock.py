"""The supervisor's clock counts no time in which the supervisor stood still."""

import time

import pytest

from imagegen.supervisor.clock import LATE_SECONDS, AwakeClock


@pytest.mark.parametrize(
    ("slept", "meant", "counted"),
    [
        (2.0, 2.0, 2.0),
        (0.5, 2.0, 0.5),  # a signal ended the sleep
        (2.3, 2.0, 2.3),  # on a machine that is busy
        (9000.0, 2.0, LATE_SECONDS),  # everything was frozen
        (9000.0, 0.1, 0.1),
        (9000.0, 0.0, 0.0),
    ],
)
def test_a_freeze_hardly_counts(
    monkeypatch: pytest.MonkeyPatch, slept: float, meant: float, counted: float
) -> None:
    clock = AwakeClock()
    began, at = clock.now, clock.now + slept
    monkeypatch.setattr(time, "monotonic", lambda: at)
    clock.advance(meant)

    assert clock.now - began == pytest.approx(counted)


def test_what_is_due_comes_also_where_the_supervisor_is_always_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = AwakeClock()
    due_at = clock.now + 30.0
    looks = 0
    while clock.now < due_at and looks < 100:
        at = time.monotonic() + 3600.0
        monkeypatch.setattr(time, "monotonic", lambda at=at: at)
        clock.advance(due_at - clock.now)
        looks += 1

    assert looks == 30.0 / LATE_SECONDS
