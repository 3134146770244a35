"""The supervisor, with real forks: what dies is replaced, what is told to stop stops."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from imagegen.supervisor import restart_delay_seconds
from tests.running import wait_for
from tests.unit.supervising import Supervised, at_least, is_gone, supervising

ALL = {"exporter": "sleeps", "worker-0": "sleeps", "worker-1": "sleeps"}

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")


Start = Callable[..., contextlib.AbstractContextManager[Supervised]]


@pytest.fixture
def supervise(tmp_path: Path) -> Start:
    """Start a supervisor over these children; whatever is left of it is killed."""
    return partial(supervising, tmp_path)


# What dies is replaced.


@pytest.mark.parametrize("role", ["worker-0", "exporter"])
def test_a_killed_child_is_replaced_at_once(supervise: Start, role: str) -> None:
    with supervise(ALL) as running:
        running.wait_for_starts(3)
        killed = running.pid_of(role)
        os.kill(killed, signal.SIGKILL)
        replacement = running.wait_for_starts(4)[3]
        [died] = running.events("process.died")

    assert replacement["role"] == role
    assert replacement["pid"] != killed
    assert (died["pid"], died["cause"], died["again_seconds"]) == (killed, "SIGKILL", 0.0)


def test_a_replacement_knows_whom_it_takes_over_from(supervise: Start) -> None:
    with supervise({"worker-0": "sleeps"}) as running:
        running.wait_for_starts(1)
        os.kill(running.pid_of("worker-0"), signal.SIGKILL)
        first, second = running.wait_for_starts(2)

    assert (first["name"], first["predecessor"]) == ("test:worker-0.1", None)
    assert (second["name"], second["predecessor"]) == ("test:worker-0.2", "test:worker-0.1")


def test_a_child_that_dies_again_and_again_is_replaced_with_growing_delay(
    supervise: Start,
) -> None:
    began = time.monotonic()
    with supervise({"worker-0": "dies"}) as running:
        died = running.wait_for_events("process.died", 3)
        took_seconds = time.monotonic() - began
        crashed = running.events("process.crashed")

    assert [line["again_seconds"] for line in died] == [0.0, 1.0, 2.0]
    assert {line["cause"] for line in died} == {"exit-1"}
    assert took_seconds >= 1.0
    assert "RuntimeError: as it must" in crashed[0]["exc_info"]


def test_one_that_dies_again_and_again_does_not_disturb_the_others(supervise: Start) -> None:
    with supervise(ALL | {"worker-1": "dies"}) as running:
        running.wait_for_events("process.died", 3)

        assert {line["role"] for line in running.events("process.died")} == {"worker-1"}
        assert not is_gone(running.pid_of("worker-0"))


@pytest.mark.parametrize(
    ("quick_deaths", "delay"),
    [(0, 0), (1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 30), (10**6, 30)],
)
def test_the_delay_doubles_to_half_a_minute(quick_deaths: int, delay: float) -> None:
    assert restart_delay_seconds(quick_deaths) == delay


def test_where_no_process_can_be_started_it_is_tried_again_later(supervise: Start) -> None:
    with supervise({"worker-0": "sleeps"}, failing_forks=2) as running:
        running.wait_for_starts(1)
        failed = running.events("process.fork.failed")
        running.tell(signal.SIGTERM)

        assert running.ends() == 0
    assert [(line["role"], line["error"]) for line in failed] == [("worker-0", "no memory")] * 2
    assert [note["signal"] for note in running.notes("ended")] == ["SIGTERM"]


def test_a_stop_is_heard_though_no_process_can_be_started(supervise: Start) -> None:
    with supervise({"worker-0": "sleeps"}, failing_forks=1000) as running:
        running.wait_for_events("process.fork.failed", 2)
        running.tell(signal.SIGTERM)

        assert running.ends() == 0


def test_a_replacement_goes_on_counting_where_the_dead_one_stopped(supervise: Start) -> None:
    with supervise({"worker-0": "counts_and_dies"}) as running:
        running.wait_for_starts(3)
        folder = Path(running.notes("shared")[0]["folder"])
        restarts = {"slot": "worker-0", "cause": "exit-1"}

        wait_for(
            "its end", lambda: count_in(folder, "imagegen_worker_restarts_total", restarts) == 3
        )
        assert count_in(folder, "imagegen_adoptions_total") == 3
        assert not count_in(folder, "imagegen_slots_busy")  # the dead are not busy
        assert len(list(folder.glob("counter_worker-0*"))) == 1


def count_in(folder: Path, name: str, labels: dict[str, str] | None = None) -> float | None:
    """What /metrics would show."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]
    return registry.get_sample_value(name, labels)


# What is told to stop stops.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_every_child_gently_and_the_exporter_last(
    supervise: Start, number: signal.Signals
) -> None:
    with supervise(ALL) as running:
        running.wait_for_starts(3)
        running.tell(number)

        assert running.ends() == 0
    ended = running.notes("ended")
    assert {note["signal"] for note in ended} == {"SIGTERM"}
    assert sorted(note["role"] for note in ended[:2]) == ["worker-0", "worker-1"]
    assert ended[2]["role"] == "exporter"
    assert running.events("process.died") == []
    assert len(running.events("supervisor.stopped")) == 1


def test_a_sigquit_stops_at_once(supervise: Start) -> None:
    with supervise({"worker-0": "is_stubborn"}) as running:
        running.wait_for_starts(1)
        running.tell(signal.SIGQUIT)

        assert running.ends() == 0


def test_a_stop_asked_twice_is_at_once(supervise: Start) -> None:
    with supervise(ALL | {"worker-1": "is_stubborn"}) as running:
        running.wait_for_starts(3)
        running.tell(signal.SIGTERM)
        running.wait_for_events("supervisor.stopping")
        at_least(1, lambda: running.notes("ended"))
        assert running.process.poll() is None
        running.tell(signal.SIGTERM)

        assert running.ends() == 0


def test_a_child_that_hears_nothing_is_killed_when_its_time_is_over(supervise: Start) -> None:
    children = ALL | {"worker-1": "is_deaf"}
    with supervise(children, grace_seconds=0.2, margin_seconds=0.2) as running:
        running.wait_for_starts(3)
        deaf = running.pid_of("worker-1")
        running.tell(signal.SIGTERM)

        assert running.ends() == 0
    assert [line["pid"] for line in running.events("process.killed")] == [deaf]
    last = running.notes("ended")[-1]
    assert (last["role"], last["signal"]) == ("exporter", "SIGTERM")


def test_nothing_is_started_again_during_a_stop(supervise: Start) -> None:
    with supervise({"worker-0": "is_stubborn", "worker-1": "dies"}) as running:
        running.wait_for_events("process.died")
        running.tell(signal.SIGTERM)
        running.wait_for_events("supervisor.stopping")
        starts = len(running.notes("started"))
        os.kill(running.pid_of("worker-0"), signal.SIGKILL)

        assert running.ends() == 0
    assert len(running.notes("started")) == starts


@pytest.mark.parametrize("number_of_fork", [1, 2, 3])
def test_a_stop_that_arrives_right_at_a_fork_is_not_lost(
    supervise: Start, number_of_fork: int
) -> None:
    with supervise(ALL, interrupted_fork=number_of_fork) as running:
        assert running.ends() == 0
    assert len(running.events("supervisor.stopped")) == 1


# Killing is normal.


@linux_only
def test_the_children_of_a_killed_supervisor_die_with_it(supervise: Start) -> None:
    with supervise(ALL | {"worker-1": "is_deaf"}) as running:
        pids = [note["pid"] for note in running.wait_for_starts(3)]
        running.tell(signal.SIGKILL)
        running.process.wait()

        wait_for("the children to die", lambda: all(map(is_gone, pids)), 10)


@linux_only
def test_as_process_1_it_takes_in_the_orphans_too(supervise: Start) -> None:
    with supervise({"worker-0": "leaves_an_orphan"}, reaps_strangers=True) as running:
        running.wait_for_starts(1)
        worker = running.pid_of("worker-0")
        [orphan] = children_of(worker)
        os.kill(worker, signal.SIGKILL)
        running.wait_for_starts(2)

        wait_for("the orphan to be taken in", lambda: not Path(f"/proc/{orphan}").exists(), 10)
        assert len(running.events("process.died")) == 1


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
