"""The rate of creating that all workers of a supervisor share, whichever is killed."""

import os
import random
import signal
import time
from typing import Any

import pytest

from imagegen.replicate import Limit
from imagegen.worker import create_rate
from imagegen.worker.create_rate import SHARE, CreateRate, burst_within
from tests.support.fake_clock import FakeClock
from tests.support.forks import fork

BURST = 20


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock()
    monkeypatch.setattr(create_rate, "time", clock)
    return clock


def takes(rate: CreateRate, most: int = 1000) -> int:
    """How many leave now."""
    return next(taken for taken in range(most + 1) if taken == most or not rate.take())


# What may leave at once.


def test_the_first_mints_after_a_start_leave_at_once(clock: FakeClock) -> None:
    rate = CreateRate(10.0, BURST)

    assert rate.ready() == BURST
    assert takes(rate) == BURST


@pytest.mark.parametrize(
    ("per_minute", "slots", "burst"),
    [(600, 20, 20), (600, 10, 10), (600, 100, 20), (200, 20, 6), (30, 20, 1), (1, 20, 1)],
)
def test_in_no_minute_more_leave_than_the_limit(
    clock: FakeClock, per_minute: int, slots: int, burst: int
) -> None:
    assert burst_within(per_minute, slots) == burst
    rate, left_at = CreateRate(per_minute / 60, burst), []
    clock.passes(3600.0)
    end = clock.now + 150.0
    while clock.now < end:
        left_at += [clock.now] * takes(rate)
        clock.passes(max(rate.next_seconds(), 0.001))

    assert len(left_at) > per_minute * 2 * 0.9
    in_a_minute = [sum(at <= each < at + 60 for each in left_at) for at in left_at]
    assert max(in_a_minute) <= per_minute


def test_an_account_that_answers_with_less_is_sent_no_more_than_that(clock: FakeClock) -> None:
    rate = CreateRate(10.0, BURST)
    assert rate.take()
    rate.note_remaining(3)

    assert takes(rate) == 3


def test_an_answer_that_shows_that_none_remain_does_not_stop_the_rate(clock: FakeClock) -> None:
    rate, left = CreateRate(10.0, BURST), 0
    for _ in range(1000):  # for 10 s
        left += takes(rate)
        rate.note_remaining(0)
        clock.passes(0.01)

    assert left == pytest.approx(BURST + 10 * 10 * SHARE, abs=3)


def test_after_a_refusal_a_burst_is_as_great_as_answers_show(clock: FakeClock) -> None:
    rate = CreateRate(10.0, BURST)
    rate.refused(1.0)
    clock.passes(3600.0)
    assert rate.ready() == 1
    rate.note_remaining(4)
    clock.passes(1.0)
    assert rate.ready() == 5
    rate.note_remaining(599)
    clock.passes(10.0)
    assert rate.ready() == BURST


def test_a_burst_grows_again_where_no_answer_shows_anything(clock: FakeClock) -> None:
    rate = CreateRate(10.0, BURST)
    rate.refused(1.0)
    for _ in range(BURST):
        rate.note_remaining(None)
    clock.passes(3600.0)
    rate.ready()
    clock.passes(10.0)

    assert rate.ready() == BURST


# A refusal that names the limit.


def test_a_limit_that_a_refusal_names_is_kept_at_once(clock: FakeClock) -> None:
    rate = CreateRate(10.0, BURST)
    takes(rate)
    rate.refused(5.0, Limit(0.1, 1))
    clock.passes(5.0)
    left = 0
    for _ in range(120):  # seconds
        left += (taken := takes(rate))
        for _ in range(taken):
            rate.note_remaining(0)
            rate.succeeded()
        if clock.now > 1060.0:
            break
        clock.passes(1.0)

    assert left in (5, 6)


def test_a_named_limit_is_forgotten_when_an_answer_shows_another(clock: FakeClock) -> None:
    rate = CreateRate(10.0, BURST)
    rate.refused(5.0, Limit(0.1, 1))
    clock.passes(5.0)
    rate.note_remaining(599)
    for _ in range(60):
        rate.succeeded()

    assert rate.per_second > 0.1


def test_a_burst_that_was_too_great_does_not_slow_the_rate_down(clock: FakeClock) -> None:
    rate = CreateRate(10.0, BURST)
    rate.refused(1.0, Limit(10.0, 10))
    clock.passes(60.0)

    assert rate.per_second == 10.0 * SHARE
    assert takes(rate) == 10


def test_a_refusal_holds_all_workers_back_until_its_hint_has_passed(clock: FakeClock) -> None:
    rate = CreateRate(10.0, BURST)
    rate.refused(30.0)
    assert rate.next_seconds() == pytest.approx(30.0)
    clock.passes(29.9)
    assert takes(rate) == 0
    clock.passes(0.1)

    assert takes(rate) == 1


# Several processes, real time.


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_share_one_rate_and_one_burst_whichever_is_killed(workers: int) -> None:
    rate, seconds = CreateRate(100.0 / SHARE, BURST), 2.0
    reader, writer = os.pipe()

    def work() -> None:
        while True:
            if rate.take():
                os.write(writer, b".")
            else:
                time.sleep(0.001)

    rate.take()  # the bucket was full at this moment
    began = time.monotonic()
    running = [fork(work) for _ in range(workers)]
    while time.monotonic() - began < seconds:
        time.sleep(random.uniform(0.0, 0.1))
        killed = running.pop(0)
        os.kill(killed, signal.SIGKILL)
        os.waitpid(killed, 0)
        running.append(fork(work))
    for pid in running:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    lasted_seconds = time.monotonic() - began
    os.close(writer)
    with os.fdopen(reader) as pipe:
        left = len(pipe.read())

    # A worker that is killed between its taking and its writing loses one.
    assert 0.5 * 100 * lasted_seconds <= left <= BURST + 100 * lasted_seconds


class DyingMemory:
    """The memory of shared numbers, in which the process is killed after some `writes`."""

    def __init__(self, values: Any, writes: int) -> None:
        self._values, self._writes = values, writes

    def __getitem__(self, position: int) -> Any:
        return self._values[position]

    def __setitem__(self, position: int, value: float) -> None:
        if self._writes == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._writes -= 1
        self._values[position] = value


@pytest.mark.parametrize("name", ["take", "spend", "note_remaining", "succeeded", "refused"])
@pytest.mark.parametrize("writes", range(9))
def test_a_worker_that_is_killed_at_any_write_gives_no_more_to_others_and_stops_none(
    clock: FakeClock, name: str, writes: int
) -> None:
    rate = CreateRate(10.0, BURST)
    takes(rate, 5)
    clock.passes(0.5)
    before = rate.ready()
    arguments: dict[str, tuple[float, ...]] = {"note_remaining": (2,), "refused": (1.0,)}

    def die() -> None:
        rate.numbers.values = DyingMemory(rate.numbers.values, writes)  # type: ignore[assignment]
        getattr(rate, name)(*arguments.get(name, ()))

    os.waitpid(fork(die), 0)

    assert takes(rate) <= before
    clock.passes(10.0)
    assert takes(rate) >= 1
    left = 0
    for _ in range(500):  # 10 s
        clock.passes(0.02)
        left += takes(rate)
    assert 40 <= left <= 100
