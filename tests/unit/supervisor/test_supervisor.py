"""The supervisor, with real forks: what dies is replaced, what is told to stop stops."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.support.processes import wait_for
from tests.support.supervisor_runs import (
    PATIENCE_SECONDS,
    at_least,
    is_gone,
    linux_only,
    running_supervisor,
)

ALL = {"exporter": "sleeps", "worker-0": "sleeps", "worker-1": "sleeps"}


# What dies is replaced.


@pytest.mark.parametrize("role", ["worker-0", "exporter"])
def test_a_killed_child_is_replaced_at_once(tmp_path: Path, role: str) -> None:
    with running_supervisor(tmp_path, ALL) as running:
        running.wait_for_starts(3)
        killed = running.pid_of(role)
        os.kill(killed, signal.SIGKILL)
        replacement = running.wait_for_starts(4)[3]
        [died] = running.events("process.died")

    assert replacement["role"] == role
    assert replacement["pid"] != killed
    assert (died["pid"], died["cause"], died["again_seconds"]) == (killed, "SIGKILL", 0.0)


def test_a_replacement_knows_whom_it_takes_over_from(tmp_path: Path) -> None:
    with running_supervisor(tmp_path, {"worker-0": "sleeps"}) as running:
        running.wait_for_starts(1)
        os.kill(running.pid_of("worker-0"), signal.SIGKILL)
        first, second = running.wait_for_starts(2)

    assert (first["name"], first["predecessor"]) == ("test:worker-0.1", None)
    assert (second["name"], second["predecessor"]) == ("test:worker-0.2", "test:worker-0.1")


def test_a_child_that_dies_again_and_again_is_replaced_with_growing_delay(
    tmp_path: Path,
) -> None:
    began = time.monotonic()
    with running_supervisor(tmp_path, {"worker-0": "dies"}) as running:
        died = running.wait_for_events("process.died", 3)
        took_seconds = time.monotonic() - began
        crashed = running.events("process.crashed")

    assert [line["again_seconds"] for line in died] == pytest.approx([0.0, 1.0, 2.0], rel=0.1)
    assert {line["cause"] for line in died} == {"exit-1"}
    assert took_seconds >= 0.9
    assert "RuntimeError: as it must" in crashed[0]["exc_info"]


def test_one_that_dies_again_and_again_does_not_disturb_the_others(tmp_path: Path) -> None:
    with running_supervisor(tmp_path, ALL | {"worker-1": "dies"}) as running:
        running.wait_for_events("process.died", 3)

        assert {line["role"] for line in running.events("process.died")} == {"worker-1"}
        assert not is_gone(running.pid_of("worker-0"))


def test_a_slot_that_goes_on_dying_delays_no_other_one(tmp_path: Path) -> None:
    with running_supervisor(tmp_path, ALL | {"worker-1": "dies"}) as running:
        running.wait_for_events("process.died", 3)
        healthy = running.pid_of("worker-0")
        os.kill(healthy, signal.SIGKILL)
        running.wait_for_start_of("test:worker-0.2")

        [died] = [line for line in running.events("process.died") if line["pid"] == healthy]
        assert died["again_seconds"] == 0.0


def test_one_that_dies_after_a_healthy_life_is_replaced_at_once_each_time(tmp_path: Path) -> None:
    healthy = {"RESET_BACKOFF_SECONDS": 0.1}
    children = {"worker-0": "dies_after_a_healthy_life"}
    with running_supervisor(tmp_path, children, constants=healthy) as running:
        died = running.wait_for_events("process.died", 3)

    assert [line["again_seconds"] for line in died] == [0.0, 0.0, 0.0]


@linux_only
def test_fifty_restarts_leave_no_open_file_behind(tmp_path: Path) -> None:
    at_once = {"MAX_RESTART_DELAY_SECONDS": 0.0}
    with running_supervisor(
        tmp_path, {"worker-0": "dies_many_times"}, constants=at_once
    ) as running:
        open_files = Path(f"/proc/{running.process.pid}/fd")
        running.wait_for_notes("began")
        before = len(list(open_files.iterdir()))
        os.kill(running.pid_of("worker-0"), signal.SIGKILL)
        running.wait_for_start_of("test:worker-0.52")

        wait_for(
            "no more open files than before",
            lambda: len(list(open_files.iterdir())) <= before,
            PATIENCE_SECONDS,
        )


def test_where_no_process_can_be_started_it_is_tried_again_later(tmp_path: Path) -> None:
    with running_supervisor(tmp_path, {"worker-0": "sleeps"}, failing_forks=2) as running:
        running.wait_for_starts(1)
        failed = running.events("process.fork.failed")
        running.tell(signal.SIGTERM)

        assert running.ends() == 0
    assert sorted(line["role"] for line in failed) == ["exporter", "worker-0"]
    assert {line["error"] for line in failed} == {"no memory"}
    assert [note["signal"] for note in running.notes("ended")] == ["SIGTERM"]


def test_a_stop_is_heard_though_no_process_can_be_started(tmp_path: Path) -> None:
    with running_supervisor(tmp_path, {"worker-0": "sleeps"}, failing_forks=1000) as running:
        running.wait_for_events("process.fork.failed", 2)
        running.tell(signal.SIGTERM)

        assert running.ends() == 0


def test_a_replacement_goes_on_counting_where_the_dead_one_stopped(tmp_path: Path) -> None:
    with running_supervisor(tmp_path, {"worker-0": "counts_and_dies"}) as running:
        running.wait_for_starts(3)
        wait_for(
            "its end",
            lambda: running.restarts("worker-0", "exit-1") == 3,
            PATIENCE_SECONDS,
        )
        assert running.metric("imagegen_adoptions_total") == 3
        assert not running.metric(
            "imagegen_slots_busy", {"slot": "worker-0"}
        )  # the dead are not busy


# What is told to stop stops.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_every_child_gently_and_the_exporter_last(
    tmp_path: Path, number: signal.Signals
) -> None:
    with running_supervisor(tmp_path, ALL) as running:
        running.wait_for_starts(3)
        running.tell(number)

        assert running.ends() == 0
    ended = running.notes("ended")
    assert {note["signal"] for note in ended} == {"SIGTERM"}
    assert sorted(note["role"] for note in ended[:2]) == ["worker-0", "worker-1"]
    assert ended[2]["role"] == "exporter"
    assert running.events("process.died") == []
    assert len(running.events("supervisor.stopped")) == 1


def test_a_sigquit_stops_at_once(tmp_path: Path) -> None:
    with running_supervisor(tmp_path, {"worker-0": "is_stubborn"}) as running:
        running.wait_for_starts(1)
        running.tell(signal.SIGQUIT)

        assert running.ends() == 0


def test_a_stop_asked_twice_is_at_once(tmp_path: Path) -> None:
    with running_supervisor(tmp_path, ALL | {"worker-1": "is_stubborn"}) as running:
        running.wait_for_starts(3)
        running.tell(signal.SIGTERM)
        running.wait_for_events("supervisor.stopping")
        at_least(1, lambda: running.notes("ended"))
        assert running.process.poll() is None
        running.tell(signal.SIGTERM)

        assert running.ends() == 0


def test_a_child_that_hears_nothing_is_killed_when_its_time_is_over(tmp_path: Path) -> None:
    children, soon = ALL | {"worker-1": "is_deaf"}, {"STOP_MARGIN_SECONDS": 0.2}
    with running_supervisor(tmp_path, children, grace_seconds=0.2, constants=soon) as running:
        running.wait_for_starts(3)
        deaf = running.pid_of("worker-1")
        running.tell(signal.SIGTERM)

        assert running.ends() == 0
    assert [line["pid"] for line in running.events("process.killed")] == [deaf]
    last = running.notes("ended")[-1]
    assert (last["role"], last["signal"]) == ("exporter", "SIGTERM")


def test_nothing_is_started_again_during_a_stop(tmp_path: Path) -> None:
    with running_supervisor(tmp_path, {"worker-0": "is_stubborn", "worker-1": "dies"}) as running:
        running.wait_for_events("process.died")
        running.tell(signal.SIGTERM)
        running.wait_for_events("supervisor.stopping")
        starts = len(running.notes("started"))
        os.kill(running.pid_of("worker-0"), signal.SIGKILL)

        assert running.ends() == 0
    assert len(running.notes("started")) == starts


@pytest.mark.parametrize("number_of_fork", [1, 2, 3])
def test_a_stop_that_arrives_right_at_a_fork_is_not_lost(
    tmp_path: Path, number_of_fork: int
) -> None:
    with running_supervisor(tmp_path, ALL, interrupted_fork=number_of_fork) as running:
        assert running.ends() == 0
    assert len(running.events("supervisor.stopped")) == 1


# Killing is normal.


@linux_only
def test_the_children_of_a_killed_supervisor_die_with_it(tmp_path: Path) -> None:
    with running_supervisor(tmp_path, ALL | {"worker-1": "is_deaf"}) as running:
        pids = [note["pid"] for note in running.wait_for_starts(3)]
        running.tell(signal.SIGKILL)
        running.process.wait()

        wait_for("the children to die", lambda: all(map(is_gone, pids)), 10)


@linux_only
def test_as_process_1_it_takes_in_the_orphans_too(tmp_path: Path) -> None:
    with running_supervisor(
        tmp_path, {"worker-0": "leaves_an_orphan"}, reaps_strangers=True
    ) as running:
        running.wait_for_starts(1)
        worker = running.pid_of("worker-0")
        [orphan] = children_of(worker)
        os.kill(worker, signal.SIGKILL)
        running.wait_for_starts(2)

        wait_for("the orphan to be taken in", lambda: not Path(f"/proc/{orphan}").exists(), 10)
        assert len(running.events("process.died")) == 1


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
