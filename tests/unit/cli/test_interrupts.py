"""A command that is the first process of a container: the kernel spares it signals by default."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "imagegen", "db", "upgrade"]


def namespaces_can_be_made() -> bool:
    if not shutil.which("unshare"):
        return False
    unshare = ["unshare", "--pid", "--fork", "true"]
    return subprocess.run(unshare, check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(not namespaces_can_be_made(), reason="only root may make namespaces")
def test_docker_stop_ends_a_migration_that_waits_for_its_database_at_once() -> None:
    with contextlib.ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        silent.settimeout(30)
        port = silent.getsockname()[1]
        container = stack.enter_context(
            subprocess.Popen(
                ["unshare", "--pid", "--fork", "--kill-child", *COMMAND],
                env=os.environ | {"DATABASE_URL": f"postgresql://a:b@127.0.0.1:{port}/c"},
                stderr=subprocess.PIPE,
            )
        )
        stack.callback(container.kill)
        stack.enter_context(silent.accept()[0])
        children = Path(f"/proc/{container.pid}/task/{container.pid}/children")

        os.kill(int(children.read_text(encoding="ascii")), signal.SIGTERM)

        assert container.wait(5) == 1
