"""A worker's beats: the watchdog hears of a slot that hangs, and of nothing else."""

from collections.abc import Collection, Mapping
from threading import Event
from unittest.mock import Mock

import pytest
from prometheus_client import Gauge

from imagegen.database import Tables
from imagegen.queue import Claim, Queue, Repairs
from imagegen.worker import maintenance, orphans
from imagegen.worker.maintenance import REPAIR_SECONDS
from imagegen.worker.set_aside import SetAside
from imagegen.worker.slots import Slots
from imagegen.worker.worker import Worker
from tests.support.fake_clock import FakeClock
from tests.support.generation_claims import NEW
from tests.support.settings import settings

FIVE_MINUTES = 300.0  # Replicate's time for one prediction, by default


class Busy(Slots):
    """Slots of which one has been at work for `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def longest_seconds(self) -> float:
        return self._seconds


@pytest.fixture
def beats(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the watchdog hears. The worker has neither a database nor anything to wake it."""
    for part in ("Wakeup", "open_pool"):
        monkeypatch.setattr(f"imagegen.worker.worker.{part}", lambda *_, **__: None)
    return []


def worker(beats: list[str]) -> Worker:
    return Worker(settings(), role="worker-0", lease_name="test", beat=lambda: beats.append("beat"))


def test_a_worker_beats_while_its_slots_may_still_be_waiting_for_replicate(
    beats: list[str],
) -> None:
    worker(beats)._beat_unless_stuck(Busy(2 * FIVE_MINUTES))

    assert beats == ["beat"]


def test_a_worker_whose_slot_is_past_every_deadline_no_longer_beats(beats: list[str]) -> None:
    worker(beats)._beat_unless_stuck(Busy(3 * FIVE_MINUTES))

    assert beats == []


def test_a_slot_that_waits_for_the_database_is_not_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    monkeypatch.setattr("imagegen.worker.slots.time", clock)
    steps: dict[str, Event] = {step: Event() for step in ("began", "waits", "waited", "ends")}

    def run(_: Claim) -> None:
        steps["began"].set()
        assert steps["waits"].wait(10)
        slots.waits()
        steps["waited"].set()
        assert steps["ends"].wait(10)

    slots = Slots(1, run, lambda: None, Gauge("busy", "", registry=None))
    slots.start(NEW)
    assert steps["began"].wait(10)
    clock.passes(86_400.0)
    assert slots.longest_seconds() == 86_400.0
    steps["waits"].set()
    assert steps["waited"].wait(10)

    assert slots.longest_seconds() == 0.0
    steps["ends"].set()


class OrphansOfOthers(Queue):
    """A queue that finds one orphan at each repair, and records which it was told to repair."""

    def __init__(self) -> None:
        self.session = Mock(tables=Tables({}, created_at_is_naive=False))
        self.abandoned: list[Mapping[int, str]] = []

    def repair_statuses(
        self,
        abandoned: Mapping[int, str],
        busy: Collection[int] = (),
        only: Collection[int] | None = None,
    ) -> Repairs:
        self.abandoned.append(abandoned)
        return Repairs(len(abandoned), {} if abandoned else {42: "a version"})


def test_a_worker_takes_over_what_another_left_ten_minutes_after_it_saw_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, queue = FakeClock(), OrphansOfOthers()
    for module in (orphans, maintenance):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(maintenance.Maintenance, "_report_odd_tokens", lambda self, tables: None)
    set_aside = SetAside(queue, "owner/name")
    started = maintenance.Maintenance(Mock(), [queue], set_aside)

    while not any(queue.abandoned):
        started.run_if_due()
        clock.passes(REPAIR_SECONDS)
        assert clock.now < 10_000

    repairs_before = round(orphans.ORPHAN_SECONDS / REPAIR_SECONDS)
    assert queue.abandoned == [*[{}] * repairs_before, {42: "a version"}]
