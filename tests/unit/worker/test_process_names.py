"""A process's name says who has died: a process of this host that has surely ended, nobody else."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagegen.worker import process_names
from imagegen.worker.process_names import NAME, is_dead, unique_name
from tests.support.processes import wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")

CHILD = """
import sys
from imagegen.worker.process_names import unique_name
print(unique_name(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def child() -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def name_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def with_part(name: str, part: str, value: str) -> str:
    """The name with another value of that part."""
    found = NAME.search(name)
    assert found
    return name[: found.start(part)] + value + name[found.end(part) :]


def test_a_name_tells_host_and_pid_and_is_nobody_elses() -> None:
    names = {unique_name() for _ in range(100)}

    assert len(names) == 100
    assert all(name.startswith(f"{socket.gethostname()}:{os.getpid()}-") for name in names)


def test_a_worker_of_a_pod_has_a_name_that_postgresql_shows_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pod, month_in_ticks = "imagegen-7c9f8d6b5c-x2x7z", f"{30 * 86400 * 100:x}"
    monkeypatch.setattr(socket, "gethostname", lambda: pod)
    name = with_part(with_part(unique_name(), "pid", "1"), "start", month_in_ticks)

    assert len(f"{name}:worker-0.1".encode()) <= 63  # NAMEDATALEN - 1


def test_a_process_that_runs_is_not_dead(child: "subprocess.Popen[str]") -> None:
    name = name_of(child)

    assert not is_dead(name)
    assert not is_dead(f"{name}:worker-0.1")


def test_a_process_that_stands_still_is_not_dead(child: "subprocess.Popen[str]") -> None:
    name = name_of(child)
    child.send_signal(signal.SIGSTOP)
    wait_for("it to stop", lambda: state_of(child.pid) == "T")

    assert not is_dead(name)


def test_a_process_that_was_killed_is_dead_and_so_are_its_workers(
    child: "subprocess.Popen[str]",
) -> None:
    name = name_of(child)
    child.kill()
    child.wait()

    assert is_dead(name)
    assert is_dead(f"{name}:worker-1.12")


def test_a_zombie_is_dead(child: "subprocess.Popen[str]") -> None:
    name = name_of(child)
    child.kill()
    wait_for("its end", lambda: state_of(child.pid) == "Z")

    assert is_dead(name)


def test_a_process_whose_pid_another_one_has_now_is_dead() -> None:
    assert is_dead(with_part(unique_name(), "start", "1"))


@pytest.mark.parametrize("part", ["place", "host"])
def test_nothing_is_known_of_processes_on_other_hosts_and_in_other_containers(
    child: "subprocess.Popen[str]", monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    name = name_of(child)
    child.kill()
    child.wait()
    if part == "host":
        monkeypatch.setattr(socket, "gethostname", lambda: "another")
    else:
        name = with_part(name, "place", "000000")

    assert not is_dead(name)


def test_a_process_that_proc_hides_is_not_dead(
    child: "subprocess.Popen[str]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of another user under systemd's ProtectProc=invisible."""
    name = name_of(child)

    def kill(pid: int, number: int) -> None:
        assert (pid, number) == (child.pid, 0)
        raise PermissionError

    monkeypatch.setattr(os, "kill", kill)
    monkeypatch.setattr(process_names, "_status", lambda _: None)

    assert not is_dead(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "worker",
        "host:999999999-0a1b2c3d:worker-0.1",  # of an older version
        "host:999999999999999999999-1-{place}-0a1b2c3d",
        "host:0-1-{place}-0a1b2c3d",
        "host:٣-1-{place}-0a1b2c3d",
    ],
)
def test_a_name_that_says_too_little_is_of_nobody_who_is_known_to_be_dead(name: str) -> None:
    found = NAME.search(unique_name())
    assert found

    assert not is_dead(name.format(place=found["place"]))


def test_without_linux_names_are_unique_and_nobody_is_known_to_be_dead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dead = with_part(unique_name(), "start", "1")

    def unreadable(*_: object, **__: object) -> str:
        raise FileNotFoundError

    for method in ("read_text", "read_bytes", "readlink"):
        monkeypatch.setattr(Path, method, unreadable)
    names = {unique_name() for _ in range(100)}

    assert len(names) == 100
    assert all(re.fullmatch(rf".+:{os.getpid()}-[0-9a-f]{{8}}", name) for name in names)
    assert not is_dead(dead)


def test_the_proc_of_another_namespace_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    dead = with_part(unique_name(), "start", "1")
    monkeypatch.setattr(os, "getpid", lambda: 4194305)  # more than any pid

    assert not is_dead(dead)
    assert not NAME.search(unique_name())
