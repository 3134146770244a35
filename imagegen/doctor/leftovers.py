"""What an `imagegen demo` that was killed left on this host: folders, and a PostgreSQL."""

import contextlib
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from imagegen.config import Settings
from imagegen.doctor.host import temporary_folder
from imagegen.doctor.report import Findings, ok, warning

# As imagegen.demo.postgres names them; to import that brings the whole sandbox.
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
    parent, arguments = parent_and_arguments(pid)
    is_server = f"/postgres -D {data} " in f"{arguments} "
    return Server(pid, parent) if is_server else None


def parent_and_arguments(pid: int) -> tuple[int, str]:
    """Of a process; 0 and nothing where there is none. From Linux's /proc, because a small Debian
    has no ps."""
    process = Path(f"/proc/{pid}")
    if Path("/proc/self").exists():
        try:
            arguments = (process / "cmdline").read_bytes().decode(errors="replace")
            parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
        except (FileNotFoundError, ProcessLookupError):
            return 0, ""
        return int(parent), arguments.replace("\0", " ")
    command = ["ps", "-ww", "-o", "ppid=", "-o", "args=", "-p", str(pid)]
    asked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PS_SECONDS)  # noqa: S603
    parent, _, arguments = asked.stdout.strip().partition(" ")
    return int(parent or 0), arguments
