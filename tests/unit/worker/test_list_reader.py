"""Slots that wait for Replicate's list share one reading, which began after each of them asked."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from imagegen.replicate.client import ReplicateClient
from imagegen.replicate.list_page import Since
from imagegen.replicate.replies import Listed, Prediction
from imagegen.worker.list_reader import ListReader
from tests.support.processes import wait_for
from tests.support.replicate_client import since

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
PATIENCE_SECONDS = 10.0


class SlowClient(ReplicateClient):
    """Reads a list when the test lets it. Each list has one prediction, with its number."""

    def __init__(self) -> None:
        self.readings: list[tuple[Since, ...]] = []
        self.errors: list[Exception] = []
        self._may_end = threading.Semaphore(0)

    def list(self, *since: Since) -> Listed:
        self.readings.append(since)
        number = len(self.readings)
        assert self._may_end.acquire(timeout=PATIENCE_SECONDS)
        if self.errors:
            raise self.errors.pop()
        return Listed((Prediction(f"reading{number}", "starting"),))

    def end_reading(self) -> None:
        self._may_end.release()


class Slots:
    """Threads that ask one reader."""

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self.client = SlowClient()
        self._reader = ListReader(self.client)
        self._threads = threads

    def ask(self, times: int = 1) -> list[Future[Listed]]:
        """Ask in `times` threads, and return when all of them wait for their answers."""
        asked = [since(NOW, seconds_ago) for seconds_ago in range(times)]
        waiting = len(self._reader._waiting) + times
        is_first = not self._reader._is_reading
        found = [self._threads.submit(self._reader.read, each) for each in asked]
        wait_for(
            "the slots to wait",
            lambda: self.client.readings if is_first else len(self._reader._waiting) == waiting,
        )
        return found


@pytest.fixture
def slots() -> Iterator[Slots]:
    with ThreadPoolExecutor(10) as threads:
        yield Slots(threads)


def ids(*asked: Future[Listed]) -> list[str]:
    return [each.result(PATIENCE_SECONDS).predictions[0].id for each in asked]


def test_slots_that_ask_during_a_reading_share_the_next_one(slots: Slots) -> None:
    first = slots.ask()
    others = slots.ask(5)
    for _ in range(2):
        slots.client.end_reading()

    assert ids(*first) == ["reading1"]
    assert ids(*others) == ["reading2"] * 5
    assert [len(asked) for asked in slots.client.readings] == [1, 5]


def test_no_slot_gets_a_list_that_was_read_before_it_asked(slots: Slots) -> None:
    slots.client.end_reading()
    before = slots.ask()
    assert ids(*before) == ["reading1"]

    slots.client.end_reading()
    [after] = [slots._threads.submit(slots._reader.read, since(NOW))]

    assert ids(after) == ["reading2"]


def test_a_reading_that_breaks_off_is_its_own_slots_alone(slots: Slots) -> None:
    first = slots.ask()
    others = slots.ask(3)
    slots.client.end_reading()
    assert ids(*first) == ["reading1"]
    wait_for("the next reading", lambda: len(slots.client.readings) == 2)

    slots.client.errors.append(MemoryError())
    for _ in range(2):
        slots.client.end_reading()

    errors = [each.exception(PATIENCE_SECONDS) for each in others]
    assert sorted(type(error).__name__ for error in errors) == ["MemoryError"] + ["NoneType"] * 2
    assert [len(asked) for asked in slots.client.readings] == [1, 3, 2]
