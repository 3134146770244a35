"""imagegen on a terminal, where somebody types."""

import contextlib
import os
import pty
import subprocess
import sys

from tests.running import Site


def on_a_terminal(
    site: Site, *arguments: str, columns: int = 80, typed: str = ""
) -> tuple[int, str]:
    """The exit code and the screen of a command on a terminal where this is typed."""
    ours, theirs = pty.openpty()
    environment = site.environment | {"COLUMNS": str(columns), "TERM": "xterm"}
    with subprocess.Popen(
        [sys.executable, "-m", "imagegen", "tokens", *arguments],
        env=environment, stdin=theirs, stdout=theirs, stderr=theirs,
    ) as process:  # fmt: skip
        os.close(theirs)
        os.write(ours, typed.encode())
        screen = b""
        with contextlib.suppress(OSError):  # Linux's way to say that nobody writes there any more
            while part := os.read(ours, 4096):
                screen += part
    os.close(ours)
    return process.returncode, screen.decode()
