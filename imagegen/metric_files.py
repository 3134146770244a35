"""Where the processes of one supervisor keep their counts: files, keyed by slot and not by pid.

prometheus_client names its files by pid, so that every restart leaves more of them behind and the
counts of the dead are summed for ever. Here a worker that replaces another goes on with its files.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from prometheus_client import Metric, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

PREFIX = "imagegen-metrics-"
LOCK = "lock"
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # the library's

_process = "supervisor"
_lock: IO[bytes] | None = None


def share() -> Path:
    """Make the folder and keep all metrics there from now on; to be called before they exist."""
    global _lock  # noqa: PLW0603 (held until the last process of this supervisor is gone)
    remove_abandoned()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    # Locked before it has the name that others look for.
    _lock = (folder / f".{LOCK}").open("wb")
    fcntl.flock(_lock, fcntl.LOCK_EX)
    (folder / f".{LOCK}").rename(folder / LOCK)
    os.environ[FOLDER_VARIABLE] = str(folder)
    values.ValueClass = values.MultiProcessValue(lambda: _process)  # type: ignore[no-untyped-call]
    return folder


def become(process: str) -> None:
    """From now on this process counts as `process` (after a fork)."""
    global _process  # noqa: PLW0603 (prometheus_client asks for it through a function)
    _process = process


class FilesCollector(Collector):
    """What all processes of this supervisor have counted."""

    def collect(self) -> Iterable[Metric]:
        """A file that a process has just opened is empty, which the library takes for broken."""
        files = Path(os.environ[FOLDER_VARIABLE]).glob("*.db")
        begun = [str(file) for file in files if _has_begun(file)]
        return MultiProcessCollector.merge(begun)  # type: ignore[no-untyped-call, no-any-return]


def _has_begun(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:  # the gauges of a process that has ended just now
        return False


def forget_gauges(process: str) -> None:
    """Gauges of a process that ended are gone; its counters stay."""
    mark_process_dead(process)  # type: ignore[no-untyped-call]


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned() -> None:
    """Remove the folders of supervisors that were killed: nobody holds their lock any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if lock := _try_lock(folder):
            remove(folder)
            lock.close()


def _try_lock(folder: Path) -> IO[bytes] | None:
    """The folder's lock, or None where somebody holds it, or it is somebody else's."""
    try:
        lock = (folder / LOCK).open("r+b")
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return None
    return lock
