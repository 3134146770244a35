"""Temporary folders that are known to be stale when their owner has died.

The owner holds a lock on a file in its folder, which the kernel releases when the process ends.
"""

import fcntl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

EMBEDDED_POSTGRES = "imagegen-postgres-"  # a prefix of names, here for the doctor's sake as well
LOCK = "lock"


def make(prefix: str) -> tuple[Path, IO[bytes]]:
    """Make a folder in the system's temporary folder, and return it with its lock.

    It is owned until the lock is closed in this process and in every fork of it.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    # Locked before it has the name that others look for.
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
