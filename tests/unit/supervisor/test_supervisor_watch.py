"""The watchdog: who hangs is ended, who works is left alone, and where nobody lives it gives up."""

import os
import signal
import time
from pathlib import Path

from tests.support.processes import wait_for
from tests.support.supervisor_runs import PATIENCE_SECONDS, RunningSupervisor, running_supervisor

SOON = {"STACKS_SECONDS": 0.2}
WATCHDOG_SECONDS = 0.4


def wait_until_counted(running: RunningSupervisor, cause: str) -> None:
    wait_for(
        f"a restart because of {cause}",
        lambda: running.restarts("worker-0", cause) == 1,
        PATIENCE_SECONDS,
    )


# Who hangs.


def test_a_worker_whose_main_loop_stands_still_is_replaced_and_counted_as_hung(
    tmp_path: Path,
) -> None:
    children = {"worker-0": "gets_stuck"}
    with running_supervisor(tmp_path, children, watchdog_seconds=WATCHDOG_SECONDS) as running:
        replacement = running.wait_for_start_of("test:worker-0.2")
        wait_until_counted(running, "hung")
        stuck = running.notes("started")[0]
        [hung] = running.events("process.hung")
        [died] = running.events("process.died")

    assert (hung["role"], hung["pid"], hung["booting"]) == ("worker-0", stuck["pid"], False)
    assert (died["pid"], died["cause"], died["again_seconds"]) == (stuck["pid"], "hung", 0.0)
    assert replacement["predecessor"] == "test:worker-0.1"


def test_a_hung_worker_writes_down_where_each_of_its_threads_is(tmp_path: Path) -> None:
    children = {"worker-0": "gets_stuck"}
    with running_supervisor(tmp_path, children, watchdog_seconds=WATCHDOG_SECONDS) as running:
        running.wait_for_events("process.died")
        log = running.log()

    assert "Fatal Python error: Aborted" in log
    assert "in stuck_here" in log
    assert "in a_slot_at_work" in log


def test_a_worker_that_cannot_even_write_its_stacks_is_killed_as_hung(tmp_path: Path) -> None:
    with running_supervisor(
        tmp_path, {"worker-0": "sleeps"}, watchdog_seconds=WATCHDOG_SECONDS, constants=SOON
    ) as running:
        running.wait_for_notes("began")
        stopped = running.pid_of("worker-0")
        os.kill(stopped, signal.SIGSTOP)
        running.wait_for_start_of("test:worker-0.2")
        wait_until_counted(running, "hung")

        assert [line["pid"] for line in running.events("process.killed")] == [stopped]


def test_a_hung_worker_does_not_disturb_the_others(tmp_path: Path) -> None:
    children = {"worker-0": "gets_stuck", "worker-1": "sleeps"}
    with running_supervisor(tmp_path, children, watchdog_seconds=WATCHDOG_SECONDS) as running:
        running.wait_for_start_of("test:worker-0.2")

        assert {line["role"] for line in running.events("process.died")} == {"worker-0"}
        assert running.notes("ended") == []


def test_a_worker_that_never_gets_to_its_main_loop_is_hung_after_the_time_to_boot(
    tmp_path: Path,
) -> None:
    boot_seconds = 0.8
    children = {"worker-0": "never_begins"}
    with running_supervisor(
        tmp_path, children, watchdog_seconds=0.2, constants={"BOOT_SECONDS": boot_seconds}
    ) as running:
        replacement = running.wait_for_start_of("test:worker-0.2")
        first = running.notes("started")[0]
        wait_until_counted(running, "hung")
        [hung] = running.events("process.hung")

    assert hung["booting"] is True
    # The clock began at the fork, a little before the note.
    assert replacement["at"] - first["at"] > boot_seconds - 0.2


# Who works.


def test_a_worker_that_beats_is_left_alone(tmp_path: Path) -> None:
    soon = {"BOOT_SECONDS": WATCHDOG_SECONDS}
    children = {"worker-0": "beats_for_long"}
    with running_supervisor(
        tmp_path, children, watchdog_seconds=WATCHDOG_SECONDS, constants=soon
    ) as running:
        running.wait_for_notes("beaten for long")

        assert running.events("process.hung") == []
        assert running.process.poll() is None


def test_a_supervisor_that_stood_still_itself_blames_no_worker(tmp_path: Path) -> None:
    children = {"exporter": "sleeps", "worker-0": "beats_for_long"}
    with running_supervisor(tmp_path, children, watchdog_seconds=WATCHDOG_SECONDS) as running:
        running.wait_for_starts(2)
        running.tell(signal.SIGSTOP)
        running.wait_for_notes("beaten for long")
        running.tell(signal.SIGCONT)
        running.wait_for_a_turn()

        assert running.events("process.hung") == []


def test_when_all_processes_were_frozen_no_worker_is_killed(tmp_path: Path) -> None:
    """Such as a virtual machine. The supervisor may go on before its workers do."""
    watchdog_seconds = 2.0
    children = {"exporter": "sleeps", "worker-0": "sleeps", "worker-1": "sleeps"}
    with running_supervisor(tmp_path, children, watchdog_seconds=watchdog_seconds) as running:
        running.wait_for_notes("began", 3)
        for _ in range(3):
            for worker in ("worker-0", "worker-1"):
                os.kill(running.pid_of(worker), signal.SIGSTOP)
            time.sleep(watchdog_seconds / 3)  # the supervisor has read what they had sent
            running.tell_all(signal.SIGSTOP)
            time.sleep(watchdog_seconds)
            running.tell(signal.SIGCONT)
            time.sleep(watchdog_seconds / 10)
            running.tell_all(signal.SIGCONT)
            running.wait_for_a_turn()

        assert running.events("process.hung") == []


def test_a_worker_that_drains_keeps_its_time_when_all_processes_were_frozen(tmp_path: Path) -> None:
    soon = {"STOP_MARGIN_SECONDS": 0.5}
    children = {"worker-0": "drains_for_a_while"}
    with running_supervisor(tmp_path, children, grace_seconds=0.5, constants=soon) as running:
        running.wait_for_notes("began")
        running.tell(signal.SIGTERM)
        running.wait_for_events("supervisor.stopping")
        running.tell_all(signal.SIGSTOP)
        time.sleep(1.5)
        running.tell_all(signal.SIGCONT)

        assert running.ends() == 0
    assert running.events("process.killed") == []
    assert len(running.notes("ended")) == 1


def test_a_worker_that_hangs_is_found_though_the_supervisor_was_frozen_before(
    tmp_path: Path,
) -> None:
    with running_supervisor(
        tmp_path, {"worker-0": "sleeps"}, watchdog_seconds=WATCHDOG_SECONDS, constants=SOON
    ) as running:
        running.wait_for_notes("began")
        os.kill(running.pid_of("worker-0"), signal.SIGSTOP)
        running.tell(signal.SIGSTOP)
        time.sleep(2 * WATCHDOG_SECONDS)
        running.tell(signal.SIGCONT)

        running.wait_for_start_of("test:worker-0.2")


# Where nobody lives.


def test_when_no_worker_stays_alive_it_gives_up_with_exit_code_1(tmp_path: Path) -> None:
    children = {"exporter": "sleeps", "worker-0": "dies", "worker-1": "dies"}
    with running_supervisor(
        tmp_path, children, watchdog_seconds=0.2, constants={"GIVE_UP_SECONDS": 0.5}
    ) as running:
        assert running.ends() == 1

    assert [line["seconds"] for line in running.events("supervisor.gave_up")] == [0.5]
    assert [note["role"] for note in running.notes("ended")] == ["exporter"]


def test_while_one_worker_is_healthy_it_never_gives_up(tmp_path: Path) -> None:
    children = {"worker-0": "sleeps", "worker-1": "dies"}
    soon = {"GIVE_UP_SECONDS": 0.3, "HEALTHY_SECONDS": 0.1}
    with running_supervisor(tmp_path, children, watchdog_seconds=0.2, constants=soon) as running:
        died = running.wait_for_events("process.died", 4)

        assert died[-1]["again_seconds"] > 3
        assert running.process.poll() is None
        running.tell(signal.SIGTERM)
        assert running.ends() == 0
    assert running.events("supervisor.gave_up") == []


def test_a_stop_at_a_bad_moment_ends_one_that_hangs_as_well(tmp_path: Path) -> None:
    began = time.monotonic()
    with running_supervisor(
        tmp_path, {"worker-0": "sleeps"}, watchdog_seconds=WATCHDOG_SECONDS, constants=SOON
    ) as running:
        running.wait_for_notes("began")
        os.kill(running.pid_of("worker-0"), signal.SIGSTOP)
        running.wait_for_events("process.hung")
        running.tell(signal.SIGTERM)

        assert running.ends() == 0
    assert time.monotonic() - began < 30  # and not after the grace of a minute
