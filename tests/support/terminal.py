"""imagegen on a terminal, where somebody types."""

import contextlib
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from typing import IO

from tests.support.processes import Site


def on_a_terminal(
    site: Site,
    *arguments: str,
    columns: int = 80,
    term: str = "xterm",
    typed: str = "",
    output: IO[str] | None = None,
    watched: Callable[[str], None] | None = None,
) -> tuple[int, str]:
    """The exit code and the screen of a command on a terminal where this is typed.

    The output may go elsewhere; whoever watches is shown the screen whenever it changes.
    """
    ours, theirs = pty.openpty()
    environment = site.environment | {"COLUMNS": str(columns), "TERM": term}
    with subprocess.Popen(
        [sys.executable, "-m", "imagegen", *arguments],
        env=environment, stdin=theirs, stdout=output or theirs, stderr=theirs,
    ) as process:  # fmt: skip
        os.close(theirs)
        os.write(ours, typed.encode())
        screen = b""
        with contextlib.suppress(OSError):  # Linux's way to say that nobody writes there any more
            while part := os.read(ours, 4096):
                screen += part
                if watched:
                    watched(screen.decode(errors="replace"))
    os.close(ours)
    return process.returncode, screen.decode()
