"""Standard error that cannot be written: work goes on, and missing lines are counted."""

import contextlib
import fcntl
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.judge import judge
from tests.support.processes import Site, wait_for
from tests.support.sandbox import Fault, Sandbox

TOKENS = 30
DROPPED = "imagegen_log_lines_dropped_total"
# Of a process that spins, one second a second.
MOST_CPU_SECONDS = 3.0


@pytest.fixture
def metrics_url(site: Site) -> str:
    """The URL of the metrics, which no log line has to tell."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    site.settings |= {"IMAGEGEN_METRICS_PORT": str(port), "IMAGEGEN_LOG_LEVEL": "debug"}
    return f"http://127.0.0.1:{port}/metrics"


@contextlib.contextmanager
def supervise(site: Site, stderr: int) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "imagegen", "supervise"]
    with subprocess.Popen(command, env=site.environment, stderr=stderr) as process:
        try:
            yield process
        finally:
            process.kill()


def dropped(metrics_url: str) -> float:
    text = httpx.get(metrics_url, trust_env=False).raise_for_status().text
    return sum(float(line.split()[1]) for line in text.splitlines() if line.startswith(DROPPED))


def mint(site: Site, first: int) -> None:
    names = (f"picture {n}" for n in range(first, first + TOKENS))
    site.mint(*names, first_token_id=first)


class LatePipe:
    """A pipe that is small and full until somebody reads."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, 4096)
        self.text = b""

    def read(self) -> None:
        def run() -> None:
            while part := os.read(self.reader, 65536):
                self.text += part

        threading.Thread(target=run, daemon=True).start()


def test_work_goes_on_while_nobody_reads_the_log_and_missing_lines_are_counted(
    site: Site, sandbox: Sandbox, metrics_url: str
) -> None:
    pipe = LatePipe()
    with supervise(site, pipe.writer) as process:
        mint(site, 1)
        assert site.wait_until_done() == {"uploading": TOKENS}
        assert dropped(metrics_url) > TOKENS
        pipe.read()
        mint(site, 101)
        site.wait_until_done()
        process.terminate()
        assert process.wait(30) == 0
    os.close(pipe.writer)

    lines = [json.loads(line) for line in pipe.text.decode().splitlines()]
    missing = {line["worker"]: line["lines"] for line in lines if line["event"].endswith("dropped")}
    assert missing.keys() >= {"worker-0", "worker-1"}
    judge(site, sandbox)


@contextlib.contextmanager
def a_full_disk() -> Iterator[int]:
    with Path("/dev/full").open("w") as file:
        yield file.fileno()


@contextlib.contextmanager
def a_pipe_without_a_reader() -> Iterator[int]:
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@contextlib.contextmanager
def a_socket_that_nobody_reads() -> Iterator[int]:
    """As systemd's journal gives one."""
    reader, writer = socket.socketpair()
    with reader, writer:
        writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        yield writer.fileno()


@pytest.mark.parametrize(
    "stderr", [a_full_disk, a_pipe_without_a_reader, a_socket_that_nobody_reads]
)
def test_work_goes_on_whatever_standard_error_is(
    stderr: Callable[[], contextlib.AbstractContextManager[int]],
    site: Site,
    sandbox: Sandbox,
    metrics_url: str,
) -> None:
    with stderr() as descriptor, supervise(site, descriptor) as process:
        mint(site, 1)
        assert site.wait_until_done() == {"uploading": TOKENS}
        assert dropped(metrics_url) > TOKENS
        process.terminate()
        assert process.wait(30) == 0

    judge(site, sandbox)


def test_work_goes_on_in_the_background_of_a_terminal_that_stops_writers(
    site: Site, sandbox: Sandbox, metrics_url: str
) -> None:
    ours, theirs = pty.openpty()
    script = f"stty tostop; set -m; {sys.executable} -m imagegen supervise & wait"

    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    screen = b""

    def watch() -> None:
        nonlocal screen
        with contextlib.suppress(OSError):  # the terminal is gone
            while part := os.read(ours, 65536):
                screen += part

    shell = subprocess.Popen(
        ["bash", "-c", script], env=site.environment,
        stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=take_terminal,  # noqa: PLW1509
    )  # fmt: skip
    os.close(theirs)
    threading.Thread(target=watch, daemon=True).start()
    try:
        mint(site, 1)
        assert site.wait_until_done() == {"uploading": TOKENS}
        [supervisor] = children(shell.pid)
        assert len(children(supervisor)) == 3
        assert cpu_seconds(supervisor) < MOST_CPU_SECONDS
        assert b"token.generation.succeeded" in screen
        os.kill(supervisor, signal.SIGTERM)
        wait_for("its end", lambda: not site.processes() or shell.poll() is not None)
        assert b"supervisor.stopped" in screen
    finally:
        shell.kill()
        shell.wait()
        os.close(ours)

    judge(site, sandbox)


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


POSIX = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("environment", [{"PYTHONIOENCODING": "latin-1"}, POSIX])
@pytest.mark.parametrize("log_format", ["json", "text"])
def test_each_line_can_be_read_whatever_the_locale_is(
    environment: dict[str, str], log_format: str, site: Site, sandbox: Sandbox
) -> None:
    site.settings |= {**environment, "IMAGEGEN_LOG_FORMAT": log_format}
    sandbox.faults.add(Fault.fails(error="the model broke: \U0001f4a5 é \ud800", times=1))
    site.mint("a cat")
    with site.program("supervise") as program:
        site.wait_until_done()
        assert program.stop() == 0

    written = program.log.read_bytes()
    assert b"Traceback" not in written
    if log_format == "json":
        text = written.decode()
        errors = [str(json.loads(line).get("error")) for line in text.splitlines()]
        assert any("\U0001f4a5 é" in error for error in errors)
    else:
        assert rb"\U0001f4a5" in written
