"""Temporary folders that are stale when the process that owns them has died.

The owner locks a file in its folder. The kernel releases the lock when the process ends.
"""

import fcntl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

EMBEDDED_POSTGRES = "imagegen-postgres-"  # a prefix of names, for the demo and the doctor
LOCK = "lock"


def make(prefix: str) -> tuple[Path, IO[bytes]]:
    """Make a folder in the system's temporary folder, and return it with its lock.

    It is owned until the lock is closed in this process and in all its forks.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    # The lock gets the name that others look for only when it is locked.
    lock = (folder / f".{LOCK}").open("wb")
    fcntl.flock(lock, fcntl.LOCK_EX)
    (folder / f".{LOCK}").rename(folder / LOCK)
    return folder, lock


def stale(parent: Path, prefix: str) -> Iterator[Path]:
    """Yield the folders in `parent` whose owner has died, each locked until the next is asked for.

    Other users' folders are skipped.
    """
    for folder in sorted(parent.glob(f"{prefix}*")):
        if lock := try_lock(folder / LOCK):
            with lock:
                yield folder


def try_lock(file: Path) -> IO[bytes] | None:
    """Return the file, opened and locked; None if it is locked, missing or another user's."""
    try:
        lock = file.open("r+b")
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return None
    return lock
