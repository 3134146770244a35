"""SIGHUP: the workers are replaced one by one, and some worker claims all the time."""

import os
import resource
import signal
from pathlib import Path
from signal import SIGHUP, SIGTERM

import pytest

from tests.support.processes import wait_for
from tests.support.supervisor_runs import (
    PATIENCE_SECONDS,
    RunningSupervisor,
    is_gone,
    running_supervisor,
)

ALL = {"exporter": "sleeps", "worker-0": "sleeps", "worker-1": "sleeps", "worker-2": "sleeps"}
SPARE = "worker-spare"
TWO = {
    "exporter": "sleeps", SPARE: "sleeps",
    "worker-0": "reboots_when_told", "worker-1": "reboots_when_told",
}  # fmt: skip

WATCHDOG_SECONDS = 8.0  # the supervisor looks after its workers at least every 2 s


def workers_with(running: RunningSupervisor, *did: str) -> list[str]:
    """Which workers did one of these, in order, without the spare one."""
    return [
        note["name"]
        for note in running.notes(*did)
        if note["role"] not in ("exporter", "worker-spare")
    ]


def test_a_sighup_replaces_the_workers_one_after_the_other(tmp_path: Path) -> None:
    with running_supervisor(tmp_path, ALL, watchdog_seconds=WATCHDOG_SECONDS) as running:
        running.wait_for_notes("began", 4)
        running.tell(SIGHUP)
        running.wait_for_notes("ended", 4)

        assert [note["name"] for note in running.notes("ended", "began")[4:]] == [
            "test:worker-spare.1",  # which begins first and ends last
            "test:worker-0.1", "test:worker-0.2",
            "test:worker-1.1", "test:worker-1.2",
            "test:worker-2.1", "test:worker-2.2",
            "test:worker-spare.1",
        ]  # fmt: skip
        assert {note["signal"] for note in running.notes("ended")} == {"SIGTERM"}


def test_a_sighup_to_all_processes_at_once_ends_none_out_of_turn(tmp_path: Path) -> None:
    with running_supervisor(tmp_path, ALL, watchdog_seconds=WATCHDOG_SECONDS) as running:
        running.wait_for_notes("began", 4)
        running.tell_all(SIGHUP)
        running.wait_for_notes("ended", 4)

        assert {note["signal"] for note in running.notes("ended")} == {"SIGTERM"}
        assert running.events("process.died") == []


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
        replacement = running.wait_for_start_of("test:worker-0.2")
        running.wait_for_notes("ended", 2)

        assert replacement["predecessor"] == "test:worker-0.1"
        assert running.events("process.died") == []
        assert running.restarts("worker-0", "exit-0") is None
        assert running.restarts("worker-spare", "exit-0") is None


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
    assert "test:worker-spare.1" in {note["name"] for note in running.notes("ended")}


def test_a_sighup_while_the_spare_worker_still_leaves_has_one_again(tmp_path: Path) -> None:
    children = {"exporter": "sleeps", "worker-0": "sleeps", SPARE: "is_stubborn"}
    with running_supervisor(tmp_path, children, watchdog_seconds=WATCHDOG_SECONDS) as running:
        running.wait_for_notes("began", 2)
        running.tell(SIGHUP)
        running.wait_for_start_of("test:worker-0.2")
        running.wait_for_a_turn()
        running.tell(SIGHUP)
        running.wait_for_events("supervisor.rolling", 2)
        running.wait_for_a_turn()
        assert workers_with(running, "ended") == ["test:worker-0.1"]

        os.kill(running.pid_of(SPARE), signal.SIGKILL)
        running.wait_for_start_of("test:worker-0.3")


# A new worker that cannot work.


@pytest.mark.parametrize("spare", ["never_ever_begins", "waits_for_the_database", "dies"])
def test_where_no_new_worker_can_claim_the_old_ones_stay(tmp_path: Path, spare: str) -> None:
    soon = {"SPARE_SECONDS": 0.5}
    children = {**ALL, SPARE: spare}
    with running_supervisor(tmp_path, children, constants=soon) as running:
        running.wait_for_notes("began", 4)
        running.tell(SIGHUP)
        [abandoned] = running.wait_for_events("supervisor.roll.abandoned")
        running.wait_for_a_turn()

        assert (abandoned["error"], abandoned["left"]) == ("no new worker has claimed", 3)
        assert workers_with(running, "ended") == []
        assert running.metric("imagegen_workers_wanted") == 3


def test_where_no_process_can_be_started_the_old_workers_stay(tmp_path: Path) -> None:
    children = {"exporter": "sleeps", "worker-0": "sleeps"}
    with running_supervisor(tmp_path, children, constants={"SPARE_SECONDS": 0.5}) as running:
        running.wait_for_notes("began", 2)
        resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, (3, 3))
        running.tell(SIGHUP)
        running.wait_for_events("supervisor.roll.abandoned")

        assert running.events("process.fork.failed")[0]["role"] == SPARE
        assert not is_gone(running.pid_of("worker-0"))


def test_a_roll_that_was_abandoned_can_be_tried_again(tmp_path: Path) -> None:
    children = {"worker-0": "sleeps", SPARE: "boots_when_told"}
    with running_supervisor(tmp_path, children, constants={"SPARE_SECONDS": 0.5}) as running:
        running.wait_for_notes("began")
        running.tell(SIGHUP)
        running.wait_for_events("supervisor.roll.abandoned")
        running.let_begin(SPARE)
        running.tell(SIGHUP)

        running.wait_for_start_of("test:worker-0.2")
