"""What an operator tells a running supervisor: one more worker, one less, where it is."""

import os
import signal
from pathlib import Path
from signal import SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2, SIGWINCH

import pytest

from tests.support.processes import wait_for
from tests.support.supervisor_runs import (
    PATIENCE_SECONDS,
    RunningSupervisor,
    is_gone,
    running_supervisor,
)

ALL = {"exporter": "sleeps", "worker-0": "sleeps", "worker-1": "sleeps", "worker-2": "sleeps"}


def workers_with(running: RunningSupervisor, *did: str) -> list[str]:
    """Which workers did one of these, in order."""
    return [note["name"] for note in running.notes(*did) if note["role"] != "exporter"]


# Signals to the whole process group.


@pytest.mark.parametrize("number", [SIGUSR1, SIGUSR2, SIGWINCH, SIGTTIN, SIGTTOU])
def test_a_signal_to_all_processes_at_once_ends_none(
    tmp_path: Path, number: signal.Signals
) -> None:
    children = {"exporter": "sleeps", "worker-0": "sleeps"}
    with running_supervisor(tmp_path, children) as running:
        running.wait_for_notes("began", 2)
        running.tell_all(number)
        running.wait_for_a_turn()

        assert running.process.poll() is None
        assert [line["role"] for line in running.events("process.died")] == ["exporter"]
        assert running.notes("ended") == []


# SIGTTIN and SIGTTOU.


def test_a_sigttin_starts_one_worker_more(tmp_path: Path) -> None:
    with running_supervisor(tmp_path, {"worker-0": "sleeps"}) as running:
        running.wait_for_starts(1)
        running.tell(SIGTTIN)
        running.wait_for_start_of("test:worker-1.1")
        running.tell(SIGTTIN)
        running.wait_for_start_of("test:worker-2.1")

        assert running.notes("ended") == []
        running.tell(SIGTERM)
        assert running.ends() == 0
    assert len(running.notes("ended")) == 3


def test_a_sigttou_ends_the_last_worker_gently_and_for_good(tmp_path: Path) -> None:
    with running_supervisor(tmp_path, ALL) as running:
        running.wait_for_starts(4)
        running.tell(SIGTTOU)
        [ended] = running.wait_for_notes("ended")
        running.wait_for_a_turn()

        assert (ended["role"], ended["signal"]) == ("worker-2", "SIGTERM")
        assert len(workers_with(running, "started")) == 3
        assert running.restarts("worker-2", "exit-0") is None


def test_the_last_worker_stays_however_often_sigttou_comes(tmp_path: Path) -> None:
    at_once = {"MAX_RESTART_DELAY_SECONDS": 0.0}  # for the exporters that tell of a turn
    with running_supervisor(tmp_path, ALL, constants=at_once) as running:
        running.wait_for_starts(4)
        for _ in range(5):
            running.tell(SIGTTOU)
            running.wait_for_a_turn()

        assert sorted(note["role"] for note in running.notes("ended")) == ["worker-1", "worker-2"]
        assert not is_gone(running.pid_of("worker-0"))


def test_one_worker_less_and_one_more_fill_the_same_slot(tmp_path: Path) -> None:
    with running_supervisor(tmp_path, ALL) as running:
        running.wait_for_starts(4)
        running.tell(SIGTTOU)
        running.wait_for_notes("ended")
        running.wait_for_a_turn()
        running.tell(SIGTTIN)
        started = running.wait_for_starts(6)[-1]

        assert started["role"] == "worker-2"


def test_the_metrics_tell_how_many_workers_are_wanted_by_now(tmp_path: Path) -> None:
    def wanted(number: int) -> None:
        name = "imagegen_workers_wanted"
        wait_for(f"{number} to be wanted", lambda: running.metric(name) == number, PATIENCE_SECONDS)

    children = {**ALL, "worker-2": "is_stubborn"}
    with running_supervisor(tmp_path, children) as running:
        running.wait_for_starts(4)
        wanted(3)
        running.tell(SIGTTOU)
        wanted(2)
        running.tell(SIGTTIN)
        wanted(3)
        running.tell(SIGTERM)
        wanted(0)


# SIGUSR1.


def test_a_sigusr1_writes_down_where_the_supervisor_is_and_it_goes_on(tmp_path: Path) -> None:
    with running_supervisor(tmp_path, ALL) as running:
        running.wait_for_starts(4)
        running.tell(SIGUSR1)
        wait_for("its stack", lambda: "supervisor.py" in running.log(), PATIENCE_SECONDS)

        running.wait_for_a_turn()
        assert "in run" in running.log()


def test_a_sigusr1_writes_down_where_a_worker_is_and_it_goes_on(tmp_path: Path) -> None:
    with running_supervisor(tmp_path, ALL) as running:
        running.wait_for_starts(4)
        os.kill(running.pid_of("worker-0"), SIGUSR1)
        wait_for("its stack", lambda: "in send_heartbeats" in running.log(), PATIENCE_SECONDS)

        running.wait_for_a_turn()
        assert running.events("process.died")[0]["role"] == "exporter"
        assert not is_gone(running.pid_of("worker-0"))
