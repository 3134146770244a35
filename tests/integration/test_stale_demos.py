"""`imagegen demo` removes the folders and servers of killed demos on this host, and no others."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagegen import owned_folders
from imagegen.demo import postgres
from tests.integration.test_demo import environment, left_by, started
from tests.support.processes import wait_for

CHECKOUT = Path(__file__).parents[2]
PID_FILES = "imagegen-postgres-*/data/postmaster.pid"
STOP_SECONDS = 30.0
pytestmark = pytest.mark.direct  # it has PostgreSQL servers of its own

# As on a system whose kernel sends no signal to the children of a dead process.
OWNER_WITHOUT_DEATH_SIGNAL = """
import os, signal
from imagegen.demo import postgres, postgres_programs

postgres_programs.dies_with_this_process = lambda number: lambda: None
with postgres.EmbeddedPostgres(durable=False) as server:
    print(server.folder, server.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def folders(parent: Path) -> set[Path]:
    """Of the demos whose server has started."""
    return {pid_file.parents[1] for pid_file in parent.glob(PID_FILES)}


def wait_for_another(parent: Path, known: set[Path]) -> Path:
    return wait_for("a server to start", lambda: folders(parent) - known).pop()


def test_the_next_demo_removes_what_a_killed_one_left(folder_for_all: Path) -> None:
    with started(folder_for_all) as killed:
        left = wait_for_another(folder_for_all, set())
        killed.kill()
    assert left.exists()

    with started(folder_for_all) as demo:
        wait_for("the folder to be removed", lambda: not left.exists())
        own = wait_for_another(folder_for_all, {left})
        demo.send_signal(signal.SIGINT)
        demo.wait(STOP_SECONDS)

    assert own != left
    wait_for("all processes to end", lambda: not left_by(folder_for_all))


def test_a_demo_leaves_a_running_one_alone(folder_for_all: Path) -> None:
    (folder_for_all / "other").mkdir()
    with started(folder_for_all) as running:
        its_folder = wait_for_another(folder_for_all, set())
        with started(folder_for_all, "--folder", f"{folder_for_all}/other") as other:
            wait_for_another(folder_for_all, {its_folder})
            other.send_signal(signal.SIGINT)
            other.wait(STOP_SECONDS)

        assert folders(folder_for_all) == {its_folder}
        out, errors = running.communicate(timeout=120)

    assert (running.returncode, errors) == (0, "")
    assert "The images:" in out
    assert left_by(folder_for_all) == []


@pytest.fixture
def temporary(folder_for_all: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's temporary folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(folder_for_all))
    return folder_for_all


def test_a_server_that_outlived_its_owner_is_stopped(temporary: Path) -> None:
    owner = subprocess.run(
        [sys.executable, "-c", OWNER_WITHOUT_DEATH_SIGNAL],
        env=environment(temporary), cwd=CHECKOUT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    folder, pid = owner.stdout.split()
    assert Path(f"/proc/{pid}").exists()

    postgres.remove_stale()

    assert not Path(folder).exists()
    assert left_by(temporary) == []


@pytest.fixture
def stale(temporary: Path) -> Path:
    """The folder of a dead owner, with a data folder and the log of a server that has ended."""
    folder, lock = owned_folders.make(owned_folders.EMBEDDED_POSTGRES)
    lock.close()
    (folder / "data").mkdir()
    (folder / "postgres.log").touch()
    return folder


@pytest.fixture
def bystander() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_a_process_that_has_the_pid_of_a_dead_server_is_not_ended(
    stale: Path, bystander: "subprocess.Popen[bytes]"
) -> None:
    (stale / "data" / "postmaster.pid").write_text(f"{bystander.pid}\n/data\n")

    postgres.remove_stale()

    assert not stale.exists()
    assert bystander.poll() is None


@pytest.mark.parametrize("pid_file", ["", "\n", "no number\n"])
def test_a_pid_file_without_a_pid_is_no_error(stale: Path, pid_file: str) -> None:
    (stale / "data" / "postmaster.pid").write_text(pid_file)

    postgres.remove_stale()

    assert not stale.exists()


def test_a_folder_whose_owner_has_not_locked_it_yet_is_kept(temporary: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix=owned_folders.EMBEDDED_POSTGRES))

    postgres.remove_stale()

    assert folder.exists()
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can lock the files of other users")
def test_root_leaves_the_folders_of_other_users_alone(stale: Path) -> None:
    os.chown(stale / owned_folders.LOCK, pwd.getpwnam("nobody").pw_uid, -1)

    postgres.remove_stale()

    assert stale.exists()
