"""A place in the supervisor: filled by one process at a time, each with a name of its own."""

import math
import os
import resource
import signal
import socket
from pathlib import Path

import pytest

from imagegen.supervisor import systemd
from tests.support.supervisor_runs import running_supervisor
from tests.unit.supervisor.test_systemd import listening, wait_for_message

TWO = {"exporter": "sleeps", "worker-0": "sleeps", "worker-1": "sleeps"}


def test_no_two_workers_ever_share_a_name(tmp_path: Path) -> None:
    with running_supervisor(tmp_path, TWO, constants={"MAX_RESTART_DELAY_SECONDS": 0.0}) as running:
        running.wait_for_starts(3)
        running.tell(signal.SIGTTOU)
        running.wait_for_notes("ended")
        running.wait_for_a_turn()
        running.tell(signal.SIGTTIN)
        start = running.wait_for_starts(5)[-1]

    lives = (start["name"], start["predecessor"])
    assert lives == ("test:worker-1.2", "test:worker-1.1")


def test_a_place_is_not_filled_while_its_retired_worker_still_drains(tmp_path: Path) -> None:
    with running_supervisor(tmp_path, {**TWO, "worker-1": "is_stubborn"}) as running:
        running.wait_for_starts(3)
        old = running.pid_of("worker-1")
        running.tell(signal.SIGTTOU)
        running.wait_for_a_turn()
        running.tell(signal.SIGTTIN)
        running.wait_for_a_turn()
        assert running.pid_of("worker-1") == old

        os.kill(old, signal.SIGKILL)
        start = running.wait_for_start_of("test:worker-1.2")

    assert start["predecessor"] == "test:worker-1.1"


def test_a_stop_does_not_hurry_a_worker_that_is_being_replaced(tmp_path: Path) -> None:
    children = {"exporter": "sleeps", "worker-0": "counts_terms", "worker-spare": "sleeps"}
    with running_supervisor(
        tmp_path, children, grace_seconds=0.5, constants={"STOP_MARGIN_SECONDS": 0.1}
    ) as running:
        running.wait_for_starts(2)
        running.tell(signal.SIGHUP)
        running.wait_for_notes("told")
        running.tell(signal.SIGTERM)
        running.ends()

        assert len(running.notes("told")) == 1


def test_workers_that_all_hang_at_boot_are_given_up(tmp_path: Path) -> None:
    quick = {"BOOT_SECONDS": 0.3, "RESET_BACKOFF_SECONDS": 0.3, "GIVE_UP_SECONDS": 0.3}
    children = {"exporter": "sleeps", "worker-0": "never_ever_begins"}
    constants = {**quick, "STACKS_SECONDS": 0.1}
    with running_supervisor(
        tmp_path, children, watchdog_seconds=0.2, constants=constants
    ) as running:
        assert running.ends() == 1


def test_where_no_file_can_be_opened_a_start_is_tried_again_later(tmp_path: Path) -> None:
    with running_supervisor(tmp_path, {"exporter": "sleeps", "worker-0": "sleeps"}) as running:
        running.wait_for_notes("began", 2)
        resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, (3, 3))
        os.kill(running.pid_of("worker-0"), signal.SIGKILL)

        running.wait_for_events("process.fork.failed")


def test_systemd_hears_that_it_is_ready_with_the_first_beat(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    children = {"exporter": "sleeps", "worker-0": "boots_when_told"}
    with (
        listening(address) as inbox,
        running_supervisor(tmp_path, children, environment={"NOTIFY_SOCKET": address}) as running,
    ):
        wait_for_message(inbox, "STATUS=0 of 1 workers")
        running.let_begin("worker-0")

        wait_for_message(inbox, "READY=1")


def test_a_systemd_that_reads_nothing_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with listening(address), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                other.sendto(b"WATCHDOG=1", address)

        systemd.notify("WATCHDOG=1")  # returns


def test_a_watchdog_of_zero_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "0")

    assert systemd.watchdog_seconds() == math.inf
