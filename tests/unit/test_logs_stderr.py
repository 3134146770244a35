"""Lines to a standard error that takes some of them, or a part of one."""

import contextlib
import fcntl
import logging
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from imagegen import logs
from imagegen.errors import CONFIGURATION
from imagegen.logs import Stderr

PIPE_BYTES = 2 * select.PIPE_BUF


class Pipe:
    """A full pipe is one whose reader does not `read`."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.set_blocking(self.reader, False)

    def fileno(self) -> int:
        return self.writer

    def fill(self) -> None:
        os.write(self.writer, b"x" * (PIPE_BYTES - 1) + b"\n")

    def read(self) -> list[str]:
        return os.read(self.reader, 10 * PIPE_BYTES).decode().splitlines()


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipe]:
    pipe = Pipe()
    monkeypatch.setattr("sys.stderr", pipe)
    monkeypatch.setattr(logs, "WAIT_SECONDS", 0.05)
    yield pipe
    os.close(pipe.reader)
    os.close(pipe.writer)


@pytest.fixture(params=["own", "shared"])
def stderr(
    pipe: Pipe, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stderr]:
    """With a descriptor of its own, or with that of all processes: the pipe is another user's."""
    if request.param == "shared":

        def refused(*_: Any) -> int:
            raise PermissionError

        monkeypatch.setattr(os, "open", refused)
    handler = Stderr("utf-8")
    monkeypatch.undo()
    monkeypatch.setattr(logs, "WAIT_SECONDS", 0.05)
    yield handler
    handler.close()


def line(text: object) -> logging.LogRecord:
    return logs.log.makeRecord("imagegen", logging.INFO, "", 0, text, (), None)


def test_lines_that_nobody_reads_are_dropped_soon_and_their_number_comes_first_later(
    pipe: Pipe, stderr: Stderr
) -> None:
    counted: list[None] = []
    stderr.on_drop = lambda: counted.append(None)
    stderr.setFormatter(logging.Formatter("%(message)s %(lines)s", defaults={"lines": ""}))
    pipe.fill()
    began = time.monotonic()
    for number in range(100):
        stderr.emit(line(number))
    assert time.monotonic() - began < 100 * logs.WAIT_SECONDS
    assert len(counted) == 100
    pipe.read()
    stderr.emit(line("goes on"))

    assert [each.strip() for each in pipe.read()] == ["log.lines.dropped 100", "goes on"]


def test_what_follows_a_line_that_was_cut_begins_a_line(pipe: Pipe, stderr: Stderr) -> None:
    stderr.emit(line("a long line " * PIPE_BYTES))
    assert len(pipe.read()) == 1
    stderr.emit(line("a short line"))

    assert pipe.read() == ["", "log.lines.dropped", "a short line"]


def test_other_users_of_standard_error_keep_their_flags(pipe: Pipe, stderr: Stderr) -> None:
    stderr.emit(line("a line"))

    assert os.get_blocking(pipe.writer)


def test_an_object_that_cannot_be_shown_costs_only_its_line(pipe: Pipe, stderr: Stderr) -> None:
    class Odd:
        def __str__(self) -> str:
            raise ValueError

    stderr.emit(line(Odd()))
    stderr.emit(line("goes on"))

    assert pipe.read() == ["log.lines.dropped", "goes on"]


@pytest.mark.parametrize(
    ("level", "begins"),
    [("debug", "<7>"), ("info", "<6>"), ("warning", "<4>"), ("error", "<3>"), ("critical", "<2>")],
)
def test_the_journal_of_systemd_learns_the_level_of_a_line(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch, level: str, begins: str
) -> None:
    status = os.fstat(pipe.writer)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    record = line("a line")
    record.levelno, record.levelname = getattr(logging, level.upper()), level.upper()

    monkeypatch.setattr("sys.stderr", pipe)
    with contextlib.closing(Stderr("utf-8")) as handler:
        handler.emit(record)

    assert pipe.read() == [f"{begins}a line"]


def test_a_standard_error_that_was_led_elsewhere_is_not_the_journal(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:12345")

    monkeypatch.setattr("sys.stderr", pipe)
    with contextlib.closing(Stderr("utf-8")) as handler:
        handler.emit(line("a line"))

    assert pipe.read() == ["a line"]


def test_an_error_that_ends_a_command_has_its_level_in_the_journal(pipe: Pipe) -> None:
    status = os.fstat(pipe.writer)
    journal = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
    command = [sys.executable, "-m", "imagegen", "supervise"]

    for environment in (journal, {}):
        ended = subprocess.run(command, env=environment, stderr=pipe.writer, check=False)
        assert ended.returncode == CONFIGURATION

    with_level, without = [line for line in pipe.read() if "DATABASE_URL" in line]
    assert with_level == f"<3>{without}"
