"""`imagegen demo` on terminals and in pipes, in any environment, while keys are pressed."""

import contextlib
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click import unstyle

from imagegen.cli.output import text_width
from tests.support.processes import all_pids, environment_of, wait_for

pytestmark = pytest.mark.direct  # it has a PostgreSQL of its own
COLUMNS = 80
# Of a terminal: the cursor is hidden while a bar is drawn.
CURSOR = re.compile(r"\x1b\[\?25[lh]")
# What is there when the demo begins to start each of its parts.
MOMENTS = ["imagegen-postgres-*", "imagegen-postgres-*/data/postmaster.pid", "demo/imagegen.log"]


def command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "imagegen", "demo", "--folder", f"{folder}/demo", *arguments]


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """What the demo leaves in the temporary folder is known by it, as are its processes."""
    return os.environ | {"TMPDIR": str(folder), "COLUMNS": str(COLUMNS)} | variables


@contextlib.contextmanager
def started(folder: Path, *arguments: str, **variables: str) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        command(folder, *arguments), env=environment(folder, **variables),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def refused(folder: Path, *arguments: str, **variables: str) -> str:
    """What a demo says that must not begin."""
    done = subprocess.run(
        command(folder, *arguments), env=environment(folder, **variables),
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr.strip()


def written_to_terminal(command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """The exit code of a command on a terminal, and all that it wrote there."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        written = b""
        with contextlib.suppress(OSError):  # Linux's way to say that nobody writes there any more
            while part := os.read(ours, 4096):
                written += part
    os.close(ours)
    return process.returncode, unstyle(CURSOR.sub("", written.decode()))


def left_by(folder: Path) -> list[str]:
    """What of a demo is still there: its server's folder, its processes."""
    mark = f"TMPDIR={folder}".encode()
    running = [str(pid) for pid in all_pids() if mark in environment_of(pid)]
    return [*map(str, folder.glob("imagegen-postgres-*")), *running]


def test_it_fits_the_terminal_and_no_setting_of_production_changes_it(
    folder_for_all: Path,
) -> None:
    kept = folder_for_all / "kept"
    kept.mkdir()

    production = {
        "IMAGEGEN_KEEP_IMAGES": str(kept),
        "IMAGEGEN_DAILY_LIMIT": "5",
        "IMAGEGEN_CREATE_RATE": "1",
        "PGSSLMODE": "require",
        "SSL_CERT_FILE": "/etc/passwd",
        "HTTPS_PROXY": "socks5://nowhere:1080",
    }
    code, screen = written_to_terminal(
        command(folder_for_all), environment(folder_for_all, **production)
    )

    assert code == 0, screen
    bars = [line for line in re.split(r"[\r\n]+", screen) if line.startswith("Tokens")]
    assert any("generating" in line for line in bars)
    assert max(map(text_width, bars)) < COLUMNS
    table = screen.splitlines()[-23:-2]
    assert max(map(text_width, table)) <= COLUMNS
    assert any("censored; the fallback prompt was used" in line for line in table)
    assert list(kept.iterdir()) == []
    assert left_by(folder_for_all) == []


@pytest.mark.parametrize("moment", MOMENTS)
def test_however_often_ctrl_c_is_pressed_at_the_start_nothing_is_left(
    folder_for_all: Path, moment: str
) -> None:
    with started(folder_for_all) as demo:
        wait_for(moment, lambda: list(folder_for_all.glob(moment)))
        while demo.poll() is None:
            demo.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                demo.wait(0.05)
        _, said = demo.communicate()

    assert (demo.returncode, said) == (1, "imagegen: interrupted; nothing is left running\n")
    assert left_by(folder_for_all) == []


def test_live_says_at_once_why_replicate_gives_no_answer(folder_for_all: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with started(
            folder_for_all, "--live", REPLICATE_API_TOKEN="token", REPLICATE_BASE_URL=url
        ) as demo:
            assert demo.stdout is not None
            message = next(line for line in demo.stdout if "refuses" in line)
            demo.send_signal(signal.SIGINT)
            demo.communicate()

    assert message.startswith("Replicate refuses: unreachable: ConnectError")
    assert left_by(folder_for_all) == []


def test_a_wrong_setting_of_the_live_account_is_reported_before_anything_starts(
    folder_for_all: Path,
) -> None:
    done = subprocess.run(
        command(folder_for_all, "--live"),
        env=environment(folder_for_all, REPLICATE_API_TOKEN="a", REPLICATE_MODEL_VERSION="flux"),
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 78
    assert done.stderr.startswith("imagegen: REPLICATE_MODEL_VERSION must be owner/name")


def test_certificates_that_live_cannot_read_are_reported_before_anything_starts(
    folder_for_all: Path,
) -> None:
    token = {"REPLICATE_API_TOKEN": "token", "SSL_CERT_FILE": "/etc/passwd"}

    assert refused(folder_for_all, "--live", **token).startswith("imagegen: SSL_CERT_FILE names")


def test_a_folder_that_cannot_be_written_to_is_reported_before_anything_starts(
    folder_for_all: Path,
) -> None:
    message = refused(folder_for_all, "--folder", "/dev/null/demo")

    assert message == (
        "imagegen: cannot write to /dev/null/demo: Not a directory: choose another --folder"
    )
