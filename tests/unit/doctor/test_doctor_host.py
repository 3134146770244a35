"""What the doctor makes of this host: limits, folders, ports, and what a killed demo left."""

import resource
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from socketserver import BaseRequestHandler, TCPServer
from types import SimpleNamespace
from typing import IO

import pytest

from imagegen import owned_folders
from imagegen.doctor import Level, host
from imagegen.web.exporter import listen
from imagegen.web.image_files import ImagesApp
from imagegen.web.server import Server
from tests.unit.doctor.test_doctor import levels, settings


def test_too_low_a_limit_of_open_files_is_reported_with_the_fix(
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
def test_a_folder_for_images_that_fills_up_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, level: Level
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))

    (found,) = host.check_images_folder(settings(IMAGEGEN_KEEP_IMAGES=str(tmp_path)))

    assert found.level is level


def test_a_folder_for_images_that_has_gone_is_reported(tmp_path: Path) -> None:
    given = settings(IMAGEGEN_KEEP_IMAGES=str(tmp_path))
    tmp_path.rmdir()

    (found,) = host.check_images_folder(given)

    assert found.message == f"{tmp_path} cannot be written to: No such file or directory"


def test_the_port_of_the_copies_is_free_served_or_somebody_elses(tmp_path: Path) -> None:
    given = settings(IMAGEGEN_KEEP_IMAGES=str(tmp_path), IMAGEGEN_IMAGES_PORT="0")
    assert [each.level for each in host.check_images_port(given)] == [Level.OK]
    assert list(host.check_images_port(settings())) == []

    with listen("127.0.0.1", 0, "images") as listening:
        given = replace(given, images_port=listening.getsockname()[1])
        server = Server(listening, ImagesApp(tmp_path), lambda: None)
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        (served,) = host.check_images_port(given)
        server.shutdown()
        thread.join()
    assert served.message.startswith("a supervisor serves copies on 127.0.0.1:")

    with TCPServer(("127.0.0.1", 0), BaseRequestHandler) as other:
        threading.Thread(target=other.handle_request).start()
        (taken,) = host.check_images_port(replace(given, images_port=other.server_address[1]))
    assert (taken.level, taken.fix) == (
        Level.WRONG,
        "choose another --images-port (IMAGEGEN_IMAGES_PORT; 0 takes a free one)",
    )


def test_a_host_without_any_temporary_folder_lacks_what_a_demo_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none() -> str:
        raise FileNotFoundError

    monkeypatch.setattr(tempfile, "gettempdir", none)

    (found,) = host.check_temporary_folder(settings())

    assert found.level is Level.WARNING
    assert levels(host.check_leftovers(settings())) == [(Level.OK, "leftovers")]


@pytest.mark.parametrize("name", ["a" * 70, "nowhere.invalid", "192.0.2.1"])
def test_a_metrics_host_that_is_none_of_this_host_is_reported_with_the_fix(name: str) -> None:
    (found,) = host.check_metrics_port(settings(IMAGEGEN_METRICS_HOST=name))

    assert found.level is Level.WRONG
    assert found.message.startswith(f"cannot serve metrics on {name}:9464: ")
    assert found.fix == "name an address of this host in --metrics-host (IMAGEGEN_METRICS_HOST)"


def test_a_supervisor_of_one_worker_is_reported_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "read_workers", lambda *_: ["worker-0"])
    with socket.create_server(("127.0.0.1", 0)) as supervisor:
        port = supervisor.getsockname()[1]
        (found,) = host.check_metrics_port(settings(IMAGEGEN_METRICS_PORT=str(port)))

    assert found.message == f"a supervisor serves them on 127.0.0.1:{port}, with 1 worker"


# What a killed demo left.


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, IO[bytes]]]:
    """The folder of a demo's PostgreSQL, and the lock that the demo holds as long as it lives."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder, lock = owned_folders.make(owned_folders.EMBEDDED_POSTGRES)
    with lock:
        yield folder, lock


def fixes() -> list[str | None]:
    return [found.fix for found in host.check_leftovers(settings())]


def test_the_folder_of_a_killed_demo_is_named(demo: tuple[Path, IO[bytes]]) -> None:
    folder, lock = demo
    assert fixes() == [None]

    lock.close()

    assert fixes() == [f"rm -r {folder}"]


def test_the_folder_of_somebody_else_is_left_alone(
    demo: tuple[Path, IO[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object) -> IO[bytes]:
        raise PermissionError

    demo[1].close()
    monkeypatch.setattr(Path, "open", denied)

    assert fixes() == [None]


def test_a_fallback_prompt_of_a_word_is_reported() -> None:
    found = list(host.check_prompts(settings(FALLBACK_CENSORED_PROMPT="art")))

    assert found[0].level is Level.WARNING
