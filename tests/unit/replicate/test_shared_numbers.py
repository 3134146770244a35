"""Numbers that several processes share, and what the death of one leaves to the others."""

import os
import signal
import time

import pytest

from imagegen.replicate import shared_numbers
from imagegen.replicate.request_budget import RequestBudget
from imagegen.replicate.shared_numbers import SharedNumbers
from tests.support.forks import fork


def lock_and(number: signal.Signals, numbers: SharedNumbers) -> int:
    """A process that is sent a signal while it has the lock."""

    def run() -> None:
        with numbers.locked():
            os.kill(os.getpid(), number)

    pid = fork(run)
    os.waitpid(pid, os.WUNTRACED)
    return pid


def test_what_one_process_writes_the_others_read() -> None:
    numbers = SharedNumbers(2)

    def write() -> None:
        numbers.values[1] = 7.5

    os.waitpid(fork(write), 0)

    assert list(numbers.values) == [0.0, 7.5]


def test_no_step_of_one_process_falls_between_those_of_another() -> None:
    numbers = SharedNumbers(1)

    def count() -> None:
        counted = 0
        while counted < 1000:
            with numbers.locked() as is_locked:
                numbers.values[0] += is_locked
                counted += is_locked

    for pid in [fork(count) for _ in range(4)]:
        os.waitpid(pid, 0)

    assert numbers.values[0] == 4000.0


def test_a_process_that_is_killed_leaves_no_lock() -> None:
    numbers = SharedNumbers(1)
    lock_and(signal.SIGKILL, numbers)
    began = time.monotonic()

    with numbers.locked() as is_locked:
        assert is_locked
    assert time.monotonic() - began < shared_numbers.LOCK_SECONDS


def test_nobody_waits_for_a_process_that_is_stopped_with_the_lock() -> None:
    numbers = SharedNumbers(1)
    stopped = lock_and(signal.SIGSTOP, numbers)
    try:
        with numbers.locked() as is_locked:
            assert not is_locked
    finally:
        os.kill(stopped, signal.SIGKILL)
        os.waitpid(stopped, 0)

    with numbers.locked() as is_locked:
        assert is_locked


def test_one_process_may_use_what_another_leaves_of_the_budget() -> None:
    numbers = SharedNumbers(1)

    def slept_in(requests: int) -> float:
        waited: list[float] = []
        budget = RequestBudget(10.0, waited.append, numbers)
        for _ in range(requests):
            budget.wait()
        return max(waited, default=0.0)

    assert slept_in(10) == 0.0
    os.waitpid(fork(lambda: slept_in(10)), 0)
    assert slept_in(1) == pytest.approx(1.0, abs=0.2)
