"""What systemd is told, through a real socket; and that it is never what breaks."""

import contextlib
import os
import signal
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagegen.supervisor import systemd
from tests.support.supervisor_runs import RunningSupervisor, linux_only, running_supervisor

ONE = {"worker-0": "sleeps"}
TOO_LONG = "/" + 200 * "x"


@contextlib.contextmanager
def listening(address: str) -> Iterator[socket.socket]:
    """systemd's end, at NOTIFY_SOCKET's address."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inbox:
        inbox.bind("\0" + address[1:] if address.startswith("@") else address)
        inbox.settimeout(20)
        yield inbox


def messages(inbox: socket.socket) -> Iterator[list[str]]:
    while True:
        yield inbox.recv(4096).decode().splitlines()


def wait_for_message(inbox: socket.socket, line: str) -> list[str]:
    return next(message for message in messages(inbox) if line in message)


@contextlib.contextmanager
def heard(
    folder: Path, children: dict[str, str], watchdog_seconds: float = 0.4, address: str = ""
) -> Iterator[tuple[socket.socket, RunningSupervisor]]:
    """A supervisor, and what systemd hears of it."""
    address = address or str(folder / "notify")
    with (
        listening(address) as inbox,
        running_supervisor(
            folder, children, watchdog_seconds=watchdog_seconds,
            environment={"NOTIFY_SOCKET": address},
        ) as running,
    ):  # fmt: skip
        yield inbox, running


# A word to systemd.


@pytest.mark.parametrize(
    "kind", ["path", pytest.param("abstract", marks=linux_only)]
)  # fmt: skip
def test_systemd_hears_of_a_state_by_path_or_by_abstract_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    address = str(tmp_path / "notify") if kind == "path" else f"@imagegen-{uuid.uuid4()}"
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with listening(address) as inbox:
        systemd.notify("READY=1\nSTATUS=2 of 2 workers, gewiß")

        assert inbox.recv(4096).decode() == "READY=1\nSTATUS=2 of 2 workers, gewiß"


@pytest.mark.parametrize("address", [None, ""])
def test_without_systemd_no_socket_is_made(
    monkeypatch: pytest.MonkeyPatch, address: str | None
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setattr(socket, "socket", lambda *_: pytest.fail("a socket was made"))

    systemd.notify("READY=1")


@pytest.mark.parametrize(
    "address", ["/nowhere/notify", "/etc/hosts", "/", "@", "@nobody", "vsock:2:1", TOO_LONG]
)
def test_a_systemd_that_cannot_be_reached_breaks_nothing(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)

    systemd.notify("READY=1")


@linux_only
def test_a_message_leaves_no_open_file_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = str(tmp_path / "notify")
    with listening(address) as inbox:
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        for reachable in (address, "/nowhere/notify"):
            monkeypatch.setenv("NOTIFY_SOCKET", reachable)
            systemd.notify("WATCHDOG=1")

        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
        assert inbox.recv(4096) == b"WATCHDOG=1"


@pytest.mark.parametrize(
    ("microseconds", "seconds"),
    [("30000000", 30.0), ("500000", 0.5), ("", float("inf")), ("soon", float("inf"))],
)
def test_systemds_watchdog_is_told_in_microseconds(
    monkeypatch: pytest.MonkeyPatch, microseconds: str, seconds: float
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", microseconds)

    assert systemd.watchdog_seconds() == seconds


def test_where_systemd_does_not_watch_there_is_no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)

    assert systemd.watchdog_seconds() == float("inf")


# What the supervisor tells it.


def test_systemd_hears_ready_only_when_a_worker_is_at_work(tmp_path: Path) -> None:
    with heard(tmp_path, {"worker-0": "boots_when_told"}) as (inbox, running):
        running.wait_for_starts(1)
        for _ in range(3):
            assert next(messages(inbox)) == ["WATCHDOG=1", "STATUS=0 of 1 workers"]
        running.let_begin("worker-0")

        ready = wait_for_message(inbox, "READY=1")
        assert ready == ["READY=1", "WATCHDOG=1", "STATUS=1 of 1 workers"]


@linux_only
def test_systemd_hears_how_many_workers_there_are_and_of_the_stop(tmp_path: Path) -> None:
    children = {"worker-0": "sleeps", "worker-1": "boots_when_told"}
    with heard(tmp_path, children, address=f"@imagegen-{uuid.uuid4()}") as (inbox, running):
        wait_for_message(inbox, "STATUS=1 of 2 workers")
        running.let_begin("worker-1")
        wait_for_message(inbox, "STATUS=2 of 2 workers")
        running.tell(signal.SIGTERM)

        assert wait_for_message(inbox, "STOPPING=1") == ["STOPPING=1"]
        assert running.ends() == 0


def test_a_reload_lasts_until_the_last_worker_was_replaced(tmp_path: Path) -> None:
    with heard(tmp_path, {"worker-0": "reboots_when_told"}) as (inbox, running):
        wait_for_message(inbox, "READY=1")
        running.tell(signal.SIGHUP)
        reloading = wait_for_message(inbox, "RELOADING=1")
        running.wait_for_start_of("test:worker-0.2")
        for _ in range(3):
            assert "READY=1" not in next(messages(inbox))
        running.let_begin("worker-0")

        wait_for_message(inbox, "READY=1")
        assert reloading[1].startswith("MONOTONIC_USEC=")


def test_a_supervisor_that_stops_slowly_is_never_called_ready_again(tmp_path: Path) -> None:
    with heard(tmp_path, {"worker-0": "is_stubborn"}, watchdog_seconds=0.2) as (inbox, running):
        wait_for_message(inbox, "READY=1")
        running.tell(signal.SIGTERM)
        wait_for_message(inbox, "STOPPING=1")

        for _ in range(3):  # it still lives, and says so
            assert next(messages(inbox)) == ["WATCHDOG=1", "STATUS=1 of 1 workers"]


def test_systemds_watchdog_hears_of_it_in_time_however_patient_its_own_is(tmp_path: Path) -> None:
    address, allowed_seconds = str(tmp_path / "notify"), 1.0
    watched = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": str(int(allowed_seconds * 1e6))}
    with (
        listening(address) as inbox,
        running_supervisor(tmp_path, ONE, watchdog_seconds=600.0, environment=watched),
    ):
        wait_for_message(inbox, "WATCHDOG=1")
        for _ in range(3):
            before = time.monotonic()
            wait_for_message(inbox, "WATCHDOG=1")
            assert time.monotonic() - before < allowed_seconds


@pytest.mark.parametrize("address", ["/nowhere/notify", "@nobody", TOO_LONG])
def test_the_supervisor_works_and_stops_as_ever_when_systemd_cannot_be_reached(
    tmp_path: Path, address: str
) -> None:
    broken = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "soon"}
    with running_supervisor(tmp_path, ONE, environment=broken) as running:
        running.wait_for_notes("began")
        running.tell(signal.SIGTERM)

        assert running.ends() == 0
    assert "Traceback" not in running.log()
