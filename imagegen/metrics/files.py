"""The files in which the processes of one supervisor keep their counts, by worker, not by pid.

prometheus_client names its files by pid: each restart would add files that are summed for ever.
Here a worker that replaces another continues with its files.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from prometheus_client import Metric, values
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from imagegen import owned_folders
from imagegen.errors import CannotStartError

PREFIX = "imagegen-metrics-"
DEFINITIONS = "imagegen.metrics.definitions"
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # the library's

# Each process has four files of 64 KiB, as the library makes them, and each may double twice.
FILE_BYTES = 1 << 16
BYTES_PER_PROCESS = 16 * FILE_BYTES
# An entry without its key: the key's length, padding, a value and its time.
ENTRY_BYTES = 4 + 8 + 16
# The supervisor and the exporter.
OTHER_PROCESSES = 2

_process = "supervisor"


def bytes_needed(workers: int) -> int:
    return BYTES_PER_PROCESS * (workers + OTHER_PROCESSES)


@contextmanager
def shared(workers: int) -> Iterator[Path]:
    """Keep all metrics in files of a new folder, which is removed at the end.

    Metrics choose their storage when `definitions` is imported: raises RuntimeError if it was
    imported before. Raises CannotStartError if the counts of all workers have no room.
    """
    if DEFINITIONS in sys.modules:
        raise RuntimeError(f"{DEFINITIONS} was imported before its metrics had a folder")
    with ExitStack() as at_end:
        try:
            remove_stale()
            folder, lock = owned_folders.make(PREFIX)
            at_end.callback(remove, folder)
            at_end.enter_context(lock)
            _fill(folder / "room", bytes_needed(workers))
            (folder / "room").unlink()
        except OSError as error:
            message = f"cannot keep metrics in {tempfile.tempdir or 'any folder'}: {error.strerror}"
            megabytes = bytes_needed(workers) // 2**20
            fix = f"make room there for {megabytes} MB, or set TMPDIR to a folder that has it"
            raise CannotStartError(message, fix) from None
        os.environ[FOLDER_VARIABLE] = str(folder)
        values.MmapedDict = BackedDict  # type: ignore[assignment, attr-defined]
        values.ValueClass = values.MultiProcessValue(lambda: _process)  # type: ignore[no-untyped-call]
        yield folder


class BackedDict(MmapedDict):
    """A file of counts that is allocated on the disk before anything is counted.

    The library's files are sparse: if the disk is full when a hole is written to, the kernel ends
    the process (SIGBUS). Here that is an OSError.
    """

    def __init__(self, filename: str) -> None:
        _fill(Path(filename), FILE_BYTES)
        super().__init__(filename)  # type: ignore[no-untyped-call]

    def _init_value(self, key: str) -> None:
        if self._used + len(key.encode()) + ENTRY_BYTES > self._capacity:
            _fill(Path(self._fname), 2 * self._capacity)
        super()._init_value(key)  # type: ignore[no-untyped-call]


def _fill(file: Path, size: int) -> None:
    """Lengthen a file to `size` bytes with zeros, not with a hole."""
    try:
        with file.open("ab") as appended:
            appended.write(bytes(max(size - appended.tell(), 0)))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(file)) from None


def become(process: str) -> None:
    """Count as `process` from now on. Called after a fork."""
    global _process  # noqa: PLW0603 (prometheus_client asks for it through a function)
    _process = process


class FilesCollector(Collector):
    """Collects the counts of all processes of this supervisor."""

    def collect(self) -> Iterable[Metric]:
        """Return the sums over all files, without empty ones: the library fails on them."""
        files = Path(os.environ[FOLDER_VARIABLE]).glob("*.db")
        begun = [str(file) for file in files if _has_begun(file)]
        return MultiProcessCollector.merge(begun)  # type: ignore[no-untyped-call, no-any-return]


def _has_begun(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:  # of a process that has just ended
        return False


def forget_gauges(process: str) -> None:
    """Remove the gauges of a process that has ended. Its counters stay."""
    mark_process_dead(process)  # type: ignore[no-untyped-call]


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def remove_stale() -> None:
    """Remove the folders of killed supervisors, whose lock no process has."""
    for folder in owned_folders.stale(Path(tempfile.gettempdir()), PREFIX):
        remove(folder)
