"""What an `imagegen demo` that was killed left on this host: folders, and a PostgreSQL."""

import contextlib
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from imagegen.doctor.findings import Findings, ok, warning
from imagegen.doctor.host import temporary_folder
from imagegen.settings import Settings

EMBEDDED_FOLDERS = "imagegen-postgres-*"
# An embedded PostgreSQL takes about a second to start.
STARTED_SECONDS = 60.0
PS_SECONDS = 5.0


@dataclass(frozen=True)
class Server:
    """A PostgreSQL that runs, and the process that started it."""

    pid: int
    parent: int


def check_leftovers(settings: Settings) -> Findings:
    found = list(_leftovers())
    yield from found
    if not found:
        yield ok("leftovers", "no imagegen demo has left anything behind")


def _leftovers() -> Findings:
    folder = temporary_folder()
    for left in sorted(folder.glob(EMBEDDED_FOLDERS)) if folder else []:
        # Somebody else's, or gone meanwhile, or nobody can tell what runs there.
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            server = server_in(left)
            if server is None and time.time() - left.stat().st_mtime > STARTED_SECONDS:
                yield warning("leftovers", f"{left} is of a killed imagegen demo", f"rm -r {left}")
            elif server is not None and server.parent == 1:
                said = f"PostgreSQL, pid {server.pid}, runs in {left} without its imagegen demo"
                yield warning("leftovers", said, f"kill -INT {server.pid} && rm -r {left}")


def server_in(folder: Path) -> Server | None:
    """The PostgreSQL that lives on the folder's data.

    Its pid file alone is no witness: a killed server leaves it, and the pid goes to somebody else.
    """
    data = folder / "data"
    try:
        pid = int((data / "postmaster.pid").read_text().split()[0])
    except (FileNotFoundError, ValueError, IndexError):  # it is made empty, then filled
        return None
    command = ["ps", "-ww", "-o", "ppid=", "-o", "args=", "-p", str(pid)]
    asked = subprocess.run(  # noqa: S603 (a number is all that varies)
        command, capture_output=True, text=True, check=False, timeout=PS_SECONDS
    )
    parent, _, arguments = asked.stdout.strip().partition(" ")
    is_server = f"/postgres -D {data} " in arguments
    return Server(pid, int(parent)) if is_server else None
