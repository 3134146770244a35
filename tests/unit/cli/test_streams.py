"""Output that goes to a full disk, a closed stream or a closed pipe."""

import os
import subprocess
import sys

import pytest


def shell(line: str, **environment: str) -> tuple[int, str, str]:
    """The exit code, output and errors of a line in which $imagegen is the command."""
    command = f"{sys.executable} -m imagegen"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; imagegen='{command}'; {line}"],
        env=os.environ | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["--version", "supervise --help"])
@pytest.mark.parametrize(
    ("elsewhere", "why"),
    [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")],
)
def test_output_that_cannot_be_written_is_one_line_and_exit_code_1(
    elsewhere: str, why: str, command: str, unbuffered: str
) -> None:
    result = shell(f"$imagegen {command} {elsewhere}", PYTHONUNBUFFERED=unbuffered)

    assert result == (1, "", f"imagegen: cannot write the output: {why}\n")


def test_a_closed_pipe_is_no_error() -> None:
    assert shell("$imagegen supervise --help | true")[1:] == ("", "")


def test_an_encoding_without_our_characters_still_gets_the_help() -> None:
    code, shown, errors = shell("$imagegen supervise --help", PYTHONIOENCODING="latin-1")

    assert (code, errors) == (0, "")
    assert "output_format ?)" in shown


def test_without_standard_error_the_output_is_the_same() -> None:
    assert shell("$imagegen --version 2>&- <&-") == shell("$imagegen --version")


INTERRUPTED = """
import signal
import sys
from imagegen.cli.streams import guarded_stdio

class Interrupt(Exception):
    pass

def interrupt(*_):
    global is_armed
    if is_armed:
        is_armed = False
        raise Interrupt

is_armed = False
signal.signal(signal.SIGALRM, interrupt)
with guarded_stdio():
    for number in range(2000):
        try:
            is_armed = True
            signal.setitimer(signal.ITIMER_REAL, 0.00002 + number % 50 / 1e6)
            # In one piece: print writes the end of a line apart.
            sys.stdout.write(f"{number}\\n")
            sys.stdout.flush()
            is_armed = False
        except Interrupt:
            pass
"""


def test_a_line_that_is_interrupted_is_not_printed_twice() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=True, timeout=60
    )

    numbers = done.stdout.split()
    assert len(numbers) > 1
    assert len(numbers) == len(set(numbers))
