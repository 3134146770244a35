"""A supervisor over tiny children, to run as a process of its own: see `test_supervisor`.

What its children do is noted in a file, a JSON object a line; its log goes to standard error.
"""

import ctypes
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

PR_SET_CHILD_SUBREAPER = 36


class Notes:
    """What the children did, in order."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, did: str, **more: object) -> None:
        line = json.dumps({"did": did, "pid": os.getpid(), **more})
        with self._path.open("a") as file:  # one short write: lines do not mix
            file.write(line + "\n")


def sleeps(note: Callable[..., None]) -> None:
    """A child that ends when it is told to."""

    def end(number: int, frame: FrameType | None) -> None:
        note("ended", signal=signal.Signals(number).name)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGQUIT, end)
    note("started")
    while True:
        signal.pause()


def is_stubborn(note: Callable[..., None]) -> None:
    """A child that goes on with its work when it is told to end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note("started")
    while True:
        signal.pause()


def is_deaf(note: Callable[..., None]) -> None:
    signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    is_stubborn(note)


def dies(note: Callable[..., None]) -> None:
    note("started")
    raise RuntimeError("as it must")


def counts_and_dies(note: Callable[..., None]) -> None:
    from imagegen import metrics  # noqa: PLC0415

    metrics.ADOPTIONS.inc()
    metrics.SLOTS_BUSY.set(5)
    dies(note)


def leaves_an_orphan(note: Callable[..., None]) -> None:
    """Its child outlives it, and then ends."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(writer)
        os.read(reader, 1)  # until the parent is gone
        os._exit(0)
    os.close(reader)
    sleeps(note)


def interrupt_fork(number_of_fork: int) -> None:
    """Let a SIGTERM come in at the very moment of this fork."""
    real_fork, forks = os.fork, iter(range(1, 1000))

    def fork() -> int:
        if next(forks) == number_of_fork:
            os.kill(os.getpid(), signal.SIGTERM)
        return real_fork()

    os.fork = fork


def fail_forks(count: int) -> None:
    """Let the first forks find no memory."""
    real_fork, forks = os.fork, iter(range(count))

    def fork() -> int:
        if next(forks, None) is not None:
            raise OSError("no memory")
        return real_fork()

    os.fork = fork


CHILDREN = {
    each.__name__: each
    for each in (sleeps, is_stubborn, is_deaf, dies, counts_and_dies, leaves_an_orphan)
}


def main() -> None:
    """Run the supervisor that the argument describes."""
    asked = json.loads(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # SIGQUIT would leave a core file
    notes = Notes(Path(asked["notes"]))
    from imagegen import logs, metric_files  # noqa: PLC0415

    folder = metric_files.share()
    # Imported only now: metrics are made when they are imported.
    from imagegen import supervisor  # noqa: PLC0415

    logs.configure("json", "info", [], "supervisor")
    notes.write("shared", folder=str(folder))
    supervisor.STOP_MARGIN_SECONDS = asked["margin_seconds"]
    if asked["reaps_strangers"]:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    if asked["interrupted_fork"]:
        interrupt_fork(asked["interrupted_fork"])
    fail_forks(asked["failing_forks"])

    def run(role: str, behaviour: str, name: str, predecessor: str | None) -> None:
        who: dict[str, Any] = {"role": role, "name": name, "predecessor": predecessor}
        CHILDREN[behaviour](partial(notes.write, **who))

    children = [
        supervisor.Child(role, partial(run, role, behaviour))
        for role, behaviour in asked["children"].items()
    ]
    try:
        supervisor.Supervisor(children, "test", asked["grace_seconds"]).run()
    finally:
        metric_files.remove(folder)


if __name__ == "__main__":
    main()
