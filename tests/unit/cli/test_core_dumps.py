"""A process that is ended by a signal leaves no core, which would hold the API token."""

import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.supervisor_runs import linux_only


def allow_cores() -> None:
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)  # a shell's background ignores it
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGABRT, signal.SIGSEGV])
def test_no_signal_makes_a_command_write_a_core(tmp_path: Path, number: signal.Signals) -> None:
    """It waits for a database that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as database:
        port = database.getsockname()[1]
        command = subprocess.Popen(
            [sys.executable, "-m", "imagegen", "db", "current"],
            env=os.environ | {"DATABASE_URL": f"postgresql://user@127.0.0.1:{port}/database"},
            cwd=tmp_path, stderr=subprocess.DEVNULL, preexec_fn=allow_cores,  # noqa: PLW1509
        )  # fmt: skip
        connection, _ = database.accept()
        command.send_signal(number)
        _, status = os.waitpid(command.pid, 0)
        command.returncode = status
        connection.close()

    assert os.WTERMSIG(status) == number
    assert not os.WCOREDUMP(status)
    assert not list(tmp_path.iterdir())


@linux_only
def test_nothing_but_root_can_read_the_memory_and_the_variables_of_a_command() -> None:
    program = """
import ctypes
from imagegen.cli import core_dumps
core_dumps.forbid()
PR_GET_DUMPABLE = 3
print(ctypes.CDLL(None).prctl(PR_GET_DUMPABLE))
"""
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert shown.stdout == b"0\n"


@pytest.mark.parametrize("most", [0, 1, 4096])
def test_a_limit_that_is_lower_already_is_no_error(most: int) -> None:
    program = f"""
import resource
from imagegen.cli import core_dumps
resource.setrlimit(resource.RLIMIT_CORE, (0, {most}))
core_dumps.forbid()
print(resource.getrlimit(resource.RLIMIT_CORE))
"""
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert shown.stdout == b"(0, 0)\n"
