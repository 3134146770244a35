"""What processes cost, read from the kernel (Linux)."""

import ctypes
import os
import time
from collections.abc import Collection
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def tree(root: int) -> list[int]:
    """A process and all that descends from it and lives."""
    found = [root]
    for pid in found:  # it grows as it goes
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            found += [int(child) for child in _read(children).split()]
    return found


def cpu_seconds(root: int, *, without: Collection[int] = ()) -> float:
    """User and system seconds of a process tree, with what ended in it and was waited for, but
    `without` these processes."""
    counted = [pid for pid in tree(root) if pid not in without]
    return sum(own_cpu_seconds(pid) + _reaped_cpu_seconds(pid) for pid in counted)


def pss_megabytes(root: int) -> float:
    """Memory of a process tree: its own pages, and its share of those that others map too."""
    lines = [
        line.split()
        for pid in tree(root)
        for line in _read(Path(f"/proc/{pid}/smaps_rollup")).splitlines()
    ]
    return sum(int(words[1]) for words in lines if words[0] == "Pss:") / 1024  # from kB


def own_cpu_seconds(pid: int) -> float:
    """All its threads, also those that ended. /proc/pid/stat has the same, but in steps of 10 ms:
    too coarse for an idle process."""
    clock = ctypes.c_int()
    if ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock)) != 0:
        return 0.0  # it has just ended
    return time.clock_gettime(clock.value)


def _reaped_cpu_seconds(pid: int) -> float:
    # The name, in brackets, may hold spaces; after it come state, ppid … cutime and cstime.
    numbers = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return sum(map(int, numbers[13:15])) / TICKS_PER_SECOND


def _read(path: Path) -> str:
    """A file of /proc, or nothing where its process has just ended."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
