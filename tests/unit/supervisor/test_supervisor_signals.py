"""What an operator tells a running supervisor: new workers, one more, one less, where it is."""

import os
import signal
from pathlib import Path
from signal import SIGHUP, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1

from tests.support.processes import wait_for
from tests.support.supervisor_runs import (
    PATIENCE_SECONDS,
    RunningSupervisor,
    is_gone,
    running_supervisor,
)

ALL = {"exporter": "sleeps", "worker-0": "sleeps", "worker-1": "sleeps", "worker-2": "sleeps"}
TWO = {"exporter": "sleeps", "worker-0": "reboots_when_told", "worker-1": "reboots_when_told"}

WATCHDOG_SECONDS = 8.0  # the supervisor looks after its workers at least every 2 s


def workers_with(running: RunningSupervisor, *did: str) -> list[str]:
    """Which workers did one of these, in order."""
    return [note["name"] for note in running.notes(*did) if note["role"] != "exporter"]


# SIGHUP.


def test_a_sighup_replaces_the_workers_one_after_the_other(tmp_path: Path) -> None:
    with running_supervisor(tmp_path, ALL, watchdog_seconds=WATCHDOG_SECONDS) as running:
        running.wait_for_notes("began", 4)
        running.tell(SIGHUP)
        running.wait_for_notes("began", 7)

        assert workers_with(running, "ended", "began")[3:] == [
            "test:worker-0.1", "test:worker-0.2",
            "test:worker-1.1", "test:worker-1.2",
            "test:worker-2.1", "test:worker-2.2",
        ]  # fmt: skip
        assert {note["signal"] for note in running.notes("ended")} == {"SIGTERM"}


def test_a_sighup_leaves_the_exporter_where_it_is(tmp_path: Path) -> None:
    with running_supervisor(tmp_path, ALL, watchdog_seconds=WATCHDOG_SECONDS) as running:
        running.wait_for_notes("began", 4)
        running.tell(SIGHUP)
        running.wait_for_notes("began", 7)

        assert "exporter" not in {note["role"] for note in running.notes("ended")}


def test_a_worker_replaced_by_a_sighup_hands_over_and_is_not_counted_as_restarted(
    tmp_path: Path,
) -> None:
    with running_supervisor(
        tmp_path, {"worker-0": "sleeps"}, watchdog_seconds=WATCHDOG_SECONDS
    ) as running:
        running.wait_for_notes("began")
        running.tell(SIGHUP)
        replacement = running.wait_for_notes("began", 2)[1]

        assert replacement["predecessor"] == "test:worker-0.1"
        assert running.events("process.died") == []
        assert running.restarts("worker-0", "exit-0") is None


def test_after_a_sighup_the_next_worker_works_until_the_one_before_it_is_back(
    tmp_path: Path,
) -> None:
    with running_supervisor(tmp_path, TWO, watchdog_seconds=WATCHDOG_SECONDS) as running:
        running.wait_for_notes("began", 3)
        running.tell(SIGHUP)
        running.wait_for_start_of("test:worker-0.2")
        running.wait_for_a_turn()
        assert workers_with(running, "ended") == ["test:worker-0.1"]

        running.let_begin("worker-0")
        running.wait_for_start_of("test:worker-1.2")
        assert workers_with(running, "ended") == ["test:worker-0.1", "test:worker-1.1"]


def test_a_second_sighup_meanwhile_begins_again_and_forgets_nobody(tmp_path: Path) -> None:
    with running_supervisor(tmp_path, TWO, watchdog_seconds=WATCHDOG_SECONDS) as running:
        running.wait_for_notes("began", 3)
        running.tell(SIGHUP)
        running.wait_for_start_of("test:worker-0.2")
        running.tell(SIGHUP)
        running.wait_for_start_of("test:worker-0.3")
        running.wait_for_a_turn()
        assert "test:worker-1.1" not in workers_with(running, "ended")

        running.let_begin("worker-0")
        running.let_begin("worker-1")
        running.wait_for_start_of("test:worker-1.2")
        running.wait_for_a_turn()
        assert workers_with(running, "began")[-2:] == ["test:worker-0.3", "test:worker-1.2"]
        assert len(running.events("supervisor.rolling")) == 2
        running.tell(SIGTERM)
        assert running.ends() == 0


def test_a_worker_that_dies_while_the_others_are_replaced_is_not_replaced_twice(
    tmp_path: Path,
) -> None:
    with running_supervisor(tmp_path, TWO, watchdog_seconds=WATCHDOG_SECONDS) as running:
        running.wait_for_notes("began", 3)
        running.tell(SIGHUP)
        running.wait_for_start_of("test:worker-0.2")
        os.kill(running.pid_of("worker-1"), signal.SIGKILL)
        running.wait_for_start_of("test:worker-1.2")
        running.let_begin("worker-0")
        running.let_begin("worker-1")
        wait_for(
            "both to begin",
            lambda: {"test:worker-0.2", "test:worker-1.2"} <= {*workers_with(running, "began")},
            PATIENCE_SECONDS,
        )
        running.wait_for_a_turn()

        assert workers_with(running, "ended") == ["test:worker-0.1"]
        assert not is_gone(running.pid_of("worker-1"))


def test_after_a_sighup_a_worker_that_does_not_end_is_killed_when_its_time_is_over(
    tmp_path: Path,
) -> None:
    children = {"worker-0": "is_stubborn", "worker-1": "sleeps"}
    soon = {"STOP_MARGIN_SECONDS": 0.2}
    with running_supervisor(
        tmp_path, children, grace_seconds=0.3, watchdog_seconds=WATCHDOG_SECONDS, constants=soon
    ) as running:
        running.wait_for_notes("began", 2)
        stubborn = running.pid_of("worker-0")
        running.tell(SIGHUP)
        replacement = running.wait_for_start_of("test:worker-0.2")
        running.wait_for_start_of("test:worker-1.2")

        [killed] = running.events("process.killed")
        assert killed["pid"] == stubborn
        assert replacement["predecessor"] == "test:worker-0.1"
        assert running.events("process.died") == []


def test_a_stop_ends_the_replacing(tmp_path: Path) -> None:
    with running_supervisor(tmp_path, TWO, watchdog_seconds=WATCHDOG_SECONDS) as running:
        running.wait_for_notes("began", 3)
        running.tell(SIGHUP)
        running.wait_for_start_of("test:worker-0.2")
        running.tell(SIGTERM)

        assert running.ends() == 0
    assert workers_with(running, "started")[2:] == ["test:worker-0.2"]


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
