"""A whole Debian with systemd, booted by the command that `IMAGEGEN_TEST_MACHINE` names.

The command takes the root folder from the variable ROOT, and `up`, `down` or `run COMMAND …` as its
argument. `up` makes the root folder if it is not there. The machine shares this host's network.
"""

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.processes import wait_for

VARIABLE = "IMAGEGEN_TEST_MACHINE"
# Made once, and never written to by a test.
BASE = Path(tempfile.gettempdir()) / "systemd-machine"
PIP_CACHE = BASE.with_name("systemd-machine-pip")
# What a run writes, in memory.
SCRATCH = BASE.with_name("systemd-machine-run")
MAKE_SECONDS = 900.0
COMMAND_SECONDS = 300.0
# PostgreSQL, Prometheus and imagegen, where their users find them.
PORTS = (5432, 9090, 9464)


@dataclass(frozen=True)
class Debian:
    """A machine that is booted."""

    tool: str
    root: Path

    def attempt(self, *command: str, answers: str = "") -> "subprocess.CompletedProcess[str]":
        """Run a command as root. `answers` is what it reads, without a terminal."""
        return control(self.tool, self.root, "run", *command, answers=answers)

    def run(self, *command: str, answers: str = "") -> str:
        """Return what a command wrote. It must succeed."""
        return output(self.attempt(*command, answers=answers))

    def shell(self, line: str) -> str:
        """Run a line of shell as root, and return what it wrote. It must succeed."""
        return self.run("sh", "-c", line)

    def boot(self) -> None:
        output(control(self.tool, self.root, "up"))

    def reboot(self) -> None:
        """Shut down in order, and boot again."""
        container = self._container()
        self.attempt("systemctl", "reboot")  # which may end this command too
        self._wait_for_end(container)
        self.boot()

    def cut_power(self) -> None:
        """End every process of the machine at once."""
        container = self._container()
        (first_process,) = Path(f"/proc/{container}/task/{container}/children").read_text().split()
        os.kill(int(first_process), signal.SIGKILL)
        self._wait_for_end(container)

    def _container(self) -> int:
        """Return the process on this host in which the machine runs."""
        return int(self.root.with_name(f"{self.root.name}.pid").read_text())

    def _wait_for_end(self, container: int) -> None:
        wait_for("the machine to end", lambda: not is_alive(container))


def is_alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def control(
    tool: str, root: Path, *arguments: str, answers: str = "", seconds: float = COMMAND_SECONDS
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*shlex.split(tool), *arguments],
        env=os.environ | {"ROOT": str(root)}, input=answers, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=seconds,
    )  # fmt: skip


def output(done: "subprocess.CompletedProcess[str]") -> str:
    assert done.returncode == 0, f"{shlex.join(done.args)}: {done.returncode}\n{done.stdout}"
    return done.stdout


@contextlib.contextmanager
def booted() -> Iterator[Debian]:
    """A fresh machine. What it writes is gone afterwards, but for pip's cache."""
    tool = os.environ[VARIABLE]
    if "PYTEST_XDIST_WORKER" in os.environ:
        pytest.fail("there is one machine for all tests: run them with -n 0")
    clear(tool)
    for port in PORTS:
        require_free(port)
    make_base(tool)
    debian = Debian(tool, SCRATCH / "root")
    try:
        mount_root()
        debian.boot()
        yield debian
    finally:
        clear(tool)


def make_base(tool: str) -> None:
    """Let the tool make the root folder, once. The file beside it says that it is whole."""
    ready = BASE.with_name(f"{BASE.name}.ready")
    if not (ready.exists() and BASE.exists()):
        output(control(tool, BASE, "up", seconds=MAKE_SECONDS))
        ready.touch()
    output(control(tool, BASE, "down"))


def mount_root() -> None:
    """Mount the base, with a layer in memory over it that takes what is written."""
    SCRATCH.mkdir(exist_ok=True)
    mount("-t", "tmpfs", "-o", "mode=755", "machine", str(SCRATCH))
    for name in ("upper", "work", "root"):
        (SCRATCH / name).mkdir()
    layers = f"lowerdir={BASE},upperdir={SCRATCH}/upper,workdir={SCRATCH}/work"
    mount("-t", "overlay", "-o", layers, "machine", str(SCRATCH / "root"))
    cache = SCRATCH / "root/root/.cache/pip"
    cache.mkdir(parents=True)
    PIP_CACHE.mkdir(exist_ok=True)
    mount("--bind", str(PIP_CACHE), str(cache))


def clear(tool: str) -> None:
    """End the machine, also that of a run that was killed, and forget what it wrote."""
    control(tool, SCRATCH / "root", "down")
    while os.path.ismount(SCRATCH):
        subprocess.run(["umount", "--recursive", str(SCRATCH)], check=True)


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def require_free(port: int) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            pytest.fail(f"port {port} of this host is in use: the machine needs it")


if __name__ == "__main__":  # whether one boots here
    with booted():
        pass
