"""What the doctor makes of this host: limits, folders, ports, and what a killed demo left."""

import os
import resource
import shutil
import socket
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from imagegen.doctor import Level, host, leftovers
from tests.unit.doctor.test_doctor import levels, settings


def test_too_low_a_limit_of_open_files_is_told_with_the_mend(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))

    (found,) = host.check_open_files(settings(WORKER_BATCH_SIZE="20"))

    assert found.level is Level.WRONG
    assert found.message == "a process may open 64 files, a worker of 20 slots needs 100"
    assert found.fix == "ulimit -n 100, or LimitNOFILE=100 in the service"


@pytest.mark.parametrize(
    ("free", "level"), [(2**30, Level.OK), (2**29, Level.WARNING), (2**20, Level.WRONG)]
)
def test_a_folder_for_images_that_fills_up_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, level: Level
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))

    (found,) = host.check_images_folder(settings(IMAGEGEN_KEEP_IMAGES=str(tmp_path)))

    assert found.level is level


def test_a_folder_for_images_that_has_gone_is_told(tmp_path: Path) -> None:
    given = settings(IMAGEGEN_KEEP_IMAGES=str(tmp_path))
    tmp_path.rmdir()

    (found,) = host.check_images_folder(given)

    assert found.message == f"{tmp_path} cannot be written to: No such file or directory"


def test_no_room_for_the_metrics_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**20))

    (found,) = host.check_temporary_folder(settings())

    assert found.level is Level.WRONG
    assert found.message.endswith(" has 1 MB left, the metrics need 4 MB")


def test_a_host_without_any_temporary_folder_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError

    monkeypatch.setattr(tempfile, "gettempdir", none)

    (found,) = host.check_temporary_folder(settings())

    assert found.level is Level.WRONG
    assert levels(leftovers.check_leftovers(settings())) == [(Level.OK, "leftovers")]


@pytest.mark.parametrize("name", ["a" * 70, "nowhere.invalid", "192.0.2.1"])
def test_a_metrics_host_that_is_none_of_this_host_is_told_with_the_mend(name: str) -> None:
    (found,) = host.check_metrics_port(settings(IMAGEGEN_METRICS_HOST=name))

    assert found.level is Level.WRONG
    assert found.message.startswith(f"cannot serve metrics on {name}:9464: ")
    assert found.fix == "name an address of this host in --metrics-host (IMAGEGEN_METRICS_HOST)"


def test_a_supervisor_of_one_worker_is_told_of_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "read_workers", lambda *_: ["worker-0"])
    with socket.create_server(("127.0.0.1", 0)) as supervisor:
        port = supervisor.getsockname()[1]
        (found,) = host.check_metrics_port(settings(IMAGEGEN_METRICS_PORT=str(port)))

    assert found.message == f"a supervisor serves them on 127.0.0.1:{port}, with 1 worker"


# What a killed demo left.


def leftover(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pid_file: str) -> Path:
    """The folder of a server that was started long ago."""
    left = tmp_path / "imagegen-postgres-abc"
    (left / "data").mkdir(parents=True)
    (left / "data" / "postmaster.pid").write_text(pid_file)
    os.utime(left, (0, 0))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return left


def mends() -> list[str | None]:
    return [found.fix for found in leftovers.check_leftovers(settings())]


def process_is(monkeypatch: pytest.MonkeyPatch, parent: int, arguments: str) -> None:
    monkeypatch.setattr(leftovers, "parent_and_arguments", lambda pid: (parent, arguments))


@pytest.mark.parametrize(("parent", "is_left"), [(1, True), (4711, False)])
def test_a_server_whose_demo_was_killed_is_told_with_its_pid(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, parent: int, is_left: bool
) -> None:
    left = leftover(tmp_path, monkeypatch, "4712\n/data\n")
    process_is(monkeypatch, parent, f"/venv/bin/postgres -D {left}/data --port=15000")

    assert mends() == [f"kill -INT 4712 && rm -r {left}" if is_left else None]


def test_a_process_that_has_the_pid_of_a_dead_server_is_not_to_be_killed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    left = leftover(tmp_path, monkeypatch, "1\n/data\n")  # the first process: no server, no parent

    assert mends() == [f"rm -r {left}"]


def test_another_server_that_has_the_pid_of_a_dead_one_is_not_to_be_killed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    left = leftover(tmp_path, monkeypatch, "4712\n/data\n")
    process_is(monkeypatch, 1, "/usr/bin/postgres -D /var/lib/postgresql/data")

    assert mends() == [f"rm -r {left}"]


def test_a_process_is_known_by_its_parent_and_its_arguments() -> None:
    assert leftovers.parent_and_arguments(os.getpid())[0] == os.getppid()
    assert "python" in leftovers.parent_and_arguments(os.getpid())[1]
    assert leftovers.parent_and_arguments(2**22 + 1) == (0, "")  # beyond Linux's last pid


@pytest.mark.parametrize("pid_file", ["", "\n", "no number\n"])
def test_a_pid_file_that_tells_no_pid_is_no_bug_of_imagegen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pid_file: str
) -> None:
    left = leftover(tmp_path, monkeypatch, pid_file)

    assert mends() == [f"rm -r {left}"]


def test_the_folder_of_somebody_else_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def denied(*_: object) -> str:
        raise PermissionError

    leftover(tmp_path, monkeypatch, "1\n")
    monkeypatch.setattr(Path, "read_text", denied)

    assert mends() == [None]


def test_a_fallback_prompt_of_a_word_is_told() -> None:
    found = list(host.check_prompts(settings(FALLBACK_CENSORED_PROMPT="art")))

    assert found[0].level is Level.WARNING
