"""The memory in which the processes of one supervisor keep their counts, by role, not by pid.

prometheus_client keeps counts in files, named by pid. With a full disk or a removed folder it ends
the process that counts, also the supervisor, and each restart adds files that are summed for ever.
Here the counts are in memory that the supervisor shares with its forks, and a worker that replaces
another one continues its counts.
"""

import mmap
import os
import struct
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import Metric, multiprocess, values
from prometheus_client.mmap_dict import MmapedDict, _read_all_values
from prometheus_client.registry import Collector

from imagegen.errors import CannotStartError

DEFINITIONS = "imagegen.metrics.definitions"
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # the library's; in it, names of files begin with it

# The library has a file for each kind of metric, such as `gauge_livesum_worker-0.db`. Here it is a
# part of the memory, with the file's name, then its content. There is room for six kinds, with
# about a thousand series each. A part that is not used takes no memory.
PARTS_PER_ROLE = 6
NAME_BYTES = 64
PART_BYTES = NAME_BYTES + 2**17
# The supervisor, the exporter and the spare worker, and workers that SIGTTIN adds.
OTHER_ROLES = 3 + 16

# The content, as the library writes it: how much is used, padding, then the entries. An entry is a
# key with its length and padding, a value and its time.
USED = struct.Struct("i")
EMPTY_BYTES = 8
VALUE_BYTES = 16
ENTRY_BYTES = 4 + 8 + VALUE_BYTES


class SharedMemory:
    """The memory, and the parts of it that belong to each role."""

    def __init__(self, roles: int) -> None:
        self.role = "supervisor"  # this process counts under this role
        size = roles * PARTS_PER_ROLE * PART_BYTES
        memory = memoryview(mmap.mmap(-1, size))
        self._parts = [memory[start : start + PART_BYTES] for start in range(0, size, PART_BYTES)]
        self._first_parts: dict[str, int] = {}  # by role
        self.reserve(self.role)

    def reserve(self, role: str) -> bool:
        """Give a role its parts, if it has none. Return False if there are no parts left. Only the
        supervisor calls it, so that no two roles get the same parts."""
        next_part = len(self._first_parts) * PARTS_PER_ROLE
        return self._first_parts.setdefault(role, next_part) < len(self._parts)

    def content_of(self, file: str) -> memoryview:
        """Return the content of a file of this process's role, which may be empty."""
        for part in self._parts_of(self.role):
            if _file(part) in ("", file):
                part[:NAME_BYTES] = file.encode().ljust(NAME_BYTES, b"\0")
                return part[NAME_BYTES:]
        return memoryview(bytearray(PART_BYTES - NAME_BYTES))  # which no other process sees

    def contents(self) -> dict[str, memoryview]:
        """Return the contents of all files by name."""
        return {_file(part): part[NAME_BYTES:] for part in self._parts if _file(part)}

    def forget_gauges(self, role: str) -> None:
        for part in self._parts_of(role):
            if _file(part).startswith("gauge_live"):
                part[NAME_BYTES:][: USED.size] = USED.pack(0)

    def _parts_of(self, role: str) -> list[memoryview]:
        first = self._first_parts[role]
        return self._parts[first : first + PARTS_PER_ROLE]


def _file(part: memoryview) -> str:
    return bytes(part[:NAME_BYTES]).rstrip(b"\0").decode()


_memory: SharedMemory


def share(workers: int) -> None:
    """Keep all metrics of this process and its forks in memory that they share.

    Raises RuntimeError if `definitions` was imported before: metrics choose their storage then.
    Raises CannotStartError if there is no memory.
    """
    global _memory  # noqa: PLW0603 (prometheus_client asks for it through classes and functions)
    if DEFINITIONS in sys.modules:
        raise RuntimeError(f"{DEFINITIONS} was imported before its metrics had a memory")
    try:
        _memory = SharedMemory(workers + OTHER_ROLES)
    except OSError as error:
        message = f"cannot share memory for metrics: {error.strerror}"
        raise CannotStartError(message, "give it more memory, or start fewer workers") from None
    os.environ[FOLDER_VARIABLE] = "shared-memory"
    multiprocess.MmapedDict = values.MmapedDict = SharedDict  # type: ignore[assignment, attr-defined]
    values.ValueClass = values.MultiProcessValue(lambda: _memory.role)  # type: ignore[no-untyped-call]


def reserve(role: str) -> bool:
    """Prepare for a fork that counts as `role`. Return False if there is no room: the counts of the
    fork will not be shown."""
    return _memory.reserve(role)


def become(role: str) -> None:
    """Count as `role` from now on. Called after a fork."""
    _memory.role = role


def forget_gauges(role: str) -> None:
    """Remove the gauges of a process that has ended. Its counters stay."""
    _memory.forget_gauges(role)


class SharedDict(MmapedDict):
    """The library's file of counts, in a part of the memory."""

    def __init__(self, filename: str) -> None:
        content = _memory.content_of(os.path.basename(filename))  # noqa: PTH119
        self._positions = {key: position for key, *_, position in _entries(content)}
        self._used = USED.unpack_from(content)[0] or EMPTY_BYTES
        content[: USED.size] = USED.pack(self._used)
        # After the entries is the value of all series for which there is no room.
        self._capacity = len(content) - VALUE_BYTES
        self._m = content  # type: ignore[assignment]

    def _init_value(self, key: str) -> None:
        if self._used + len(key.encode()) + ENTRY_BYTES > self._capacity:
            self._positions[key] = self._capacity
        else:
            super()._init_value(key)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Do nothing: all processes share the memory."""

    @staticmethod
    def read_all_values_from_file(filename: str) -> Iterator[Any]:
        return _entries(_memory.contents()[filename])


def _entries(content: memoryview) -> Iterator[Any]:
    """Yield key, value, time and position of each entry, also while a process writes them."""
    (used,) = USED.unpack_from(content)
    copy = bytes(content[:used])
    if used and USED.unpack_from(content)[0] >= used:  # else the gauges are being forgotten
        yield from _read_all_values(copy, used)  # type: ignore[no-untyped-call]


class SharedCollector(Collector):
    """Collects the counts of all processes of this supervisor."""

    def collect(self) -> Iterable[Metric]:
        """Return the sums over all processes."""
        files = list(_memory.contents())
        return multiprocess.MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call, no-any-return]
