"""A few numbers that a process shares with its forks, and a lock that no dead process keeps."""

import contextlib
import fcntl
import mmap
import os
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any, overload

NUMBER_BYTES = 8
# A process needs the lock for microseconds, or some milliseconds on a busy machine. One that was
# stopped (SIGSTOP) keeps it until it goes on or is killed, so no process waits longer than this.
LOCK_SECONDS = 0.1
LOCK_AGAIN_SECONDS = 0.0005


class SharedNumbers:
    """Numbers in memory that all forks of this process share, zero at first.

    A read or write of one number is atomic. Change several that belong together under `locked()`.
    A process may be killed between two writes there: the next one to lock finds some numbers
    written and others not.
    """

    def __init__(self, count: int) -> None:
        # A lock of fcntl needs a file: this one is in memory only.
        if hasattr(os, "memfd_create"):
            self._file = os.memfd_create("imagegen")
        else:  # macOS
            with tempfile.TemporaryFile() as file:
                self._file = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._file)
        os.ftruncate(self._file, count * NUMBER_BYTES)
        self.values = memoryview(mmap.mmap(self._file, count * NUMBER_BYTES)).cast("d")
        self._threads = threading.Lock()  # the kernel's lock does not keep threads apart

    @contextlib.contextmanager
    def locked(self) -> Iterator[bool]:
        """Keep other threads and processes out. Gives True; or False, without the lock, if another
        process keeps it, such as one that was sent SIGSTOP.

        The kernel releases a lock of fcntl when its process dies, and a fork does not inherit it.
        """
        with self._threads:
            is_locked = self._lock()
            try:
                yield is_locked
            finally:
                if is_locked:
                    fcntl.lockf(self._file, fcntl.LOCK_UN)

    def _lock(self) -> bool:
        deadline = 0.0
        while True:
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:  # another process has it
                deadline = deadline or time.monotonic() + LOCK_SECONDS
                if time.monotonic() > deadline:
                    return False
                time.sleep(LOCK_AGAIN_SECONDS)
            else:
                return True


class Number:
    """An attribute that is one of the SharedNumbers in its object's `numbers`."""

    def __init__(self, position: int) -> None:
        self._position = position

    @overload
    def __get__(self, owner: None, kind: type) -> "Number": ...
    @overload
    def __get__(self, owner: object, kind: type) -> float: ...
    def __get__(self, owner: Any, kind: type) -> "Number | float":
        return self if owner is None else owner.numbers.values[self._position]

    def __set__(self, owner: Any, value: float) -> None:
        owner.numbers.values[self._position] = value
