"""A supervisor over tiny children, to run as a process of its own: see `supervising`.

What its children do is noted in a file, a JSON object a line; its log goes to standard error.
"""

import ctypes
import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from imagegen.supervisor.child import Child, ChildContext

PR_SET_CHILD_SUBREAPER = 36
HEARTBEAT_SECONDS = 0.02
LONG_SECONDS = 1.0
PIPE_BYTES = 65_536
LAST_OF_MANY = 52


@dataclass(frozen=True)
class Part:
    """What a child plays with."""

    context: "ChildContext"
    folder: Path

    def note(self, did: str, /, **more: object) -> None:
        who = {
            "role": self.context.role,
            "name": self.context.name,
            "predecessor": self.context.predecessor,
        }
        write_note(self.folder, did, **who, **more)

    @property
    def is_first(self) -> bool:
        return self.context.predecessor is None


def write_note(folder: Path, did: str, /, **more: object) -> None:
    line = json.dumps({"did": did, "pid": os.getpid(), "at": time.time(), **more})
    with (folder / "notes").open("a") as file:  # one short write: lines do not mix
        file.write(line + "\n")


# The children.


def sleeps(part: Part) -> NoReturn:
    """It ends when it is told to, and beats until then."""
    listen(part)
    part.note("started")
    send_heartbeats(part)


def listen(part: Part) -> None:
    def end(number: int, frame: FrameType | None) -> None:
        part.note("ended", signal=signal.Signals(number).name)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGQUIT, end)


def send_heartbeats(part: Part) -> NoReturn:
    part.note("began")
    while True:
        part.context.heartbeat()
        time.sleep(HEARTBEAT_SECONDS)


def is_stubborn(part: Part) -> NoReturn:
    """It goes on with its work when it is told to end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    part.note("started")
    send_heartbeats(part)


def is_deaf(part: Part) -> NoReturn:
    signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    is_stubborn(part)


def is_quiet(part: Part) -> NoReturn:
    """It leaves no notes."""
    while True:
        part.context.heartbeat()
        time.sleep(HEARTBEAT_SECONDS)


def dies(part: Part) -> NoReturn:
    part.note("started")
    raise RuntimeError("as it must")


def dies_after_a_healthy_life(part: Part) -> NoReturn:
    part.note("started")
    part.context.heartbeat()
    time.sleep(0.3)
    raise RuntimeError("as it must")


def dies_many_times(part: Part) -> NoReturn:
    """From its second life to the one before the last."""
    start = int(part.context.name.rpartition(".")[2])
    if 1 < start < LAST_OF_MANY:
        raise SystemExit(1)
    sleeps(part)


def counts_and_dies(part: Part) -> NoReturn:
    from imagegen.metrics import definitions as metrics  # noqa: PLC0415

    metrics.ADOPTIONS.inc()
    metrics.SLOTS_BUSY.labels("worker-0").set(5)
    dies(part)


def finds_a_mistake(part: Part) -> NoReturn:
    """In its configuration, once the others are there."""
    part.note("started")
    while not (part.folder / f"go-{part.context.role}").exists():
        time.sleep(HEARTBEAT_SECONDS)
    raise SystemExit(78)


def leaves_an_orphan(part: Part) -> NoReturn:
    """Its child outlives it, and then ends."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(writer)
        os.read(reader, 1)  # until the parent is gone
        os._exit(0)
    os.close(reader)
    sleeps(part)


def gets_stuck(part: Part) -> NoReturn:
    """Its main loop stops after the first beat, while a thread goes on; its successor is well."""
    if not part.is_first:
        sleeps(part)
    listen(part)
    part.note("started")
    threading.Thread(target=a_slot_at_work, daemon=True).start()
    part.context.heartbeat()
    stuck_here()


def a_slot_at_work() -> NoReturn:
    while True:
        time.sleep(HEARTBEAT_SECONDS)


def stuck_here() -> NoReturn:
    while True:
        time.sleep(LONG_SECONDS)


def never_begins(part: Part) -> NoReturn:
    """Nor does its main loop; its successor is well."""
    if not part.is_first:
        sleeps(part)
    part.note("started")
    stuck_here()


def beats_for_long(part: Part) -> NoReturn:
    part.note("started")
    enough = time.monotonic() + LONG_SECONDS
    while time.monotonic() < enough:
        part.context.heartbeat()
        time.sleep(HEARTBEAT_SECONDS)
    part.note("beaten for long")
    send_heartbeats(part)


def beats_faster_than_anybody_reads(part: Part) -> NoReturn:
    """Once it is told to go."""
    part.note("started")
    while not (part.folder / f"go-{part.context.role}").exists():
        part.context.heartbeat()
        time.sleep(HEARTBEAT_SECONDS)
    for _ in range(2 * PIPE_BYTES):
        part.context.heartbeat()
    part.note("beaten often")
    send_heartbeats(part)


def reboots_when_told(part: Part) -> NoReturn:
    """Its first life begins at once, the others when a file says so."""
    listen(part)
    part.note("started")
    while not (part.is_first or (part.folder / f"go-{part.context.role}").exists()):
        time.sleep(HEARTBEAT_SECONDS)
    send_heartbeats(part)


def boots_when_told(part: Part) -> NoReturn:
    part.note("started")
    while not (part.folder / f"go-{part.context.role}").exists():
        time.sleep(HEARTBEAT_SECONDS)
    send_heartbeats(part)


def never_ever_begins(part: Part) -> NoReturn:
    part.note("started")
    stuck_here()


def counts_terms(part: Part) -> NoReturn:
    signal.signal(signal.SIGTERM, lambda *_: part.note("told"))
    part.note("started")
    send_heartbeats(part)


CHILDREN: dict[str, Callable[[Part], NoReturn]] = {
    each.__name__: each
    for each in (
        sleeps, is_stubborn, is_deaf, is_quiet, dies, dies_after_a_healthy_life, dies_many_times,
        counts_and_dies, finds_a_mistake, leaves_an_orphan, gets_stuck, never_begins,
        beats_for_long, beats_faster_than_anybody_reads, reboots_when_told, boots_when_told,
        counts_terms, never_ever_begins,
    )
}  # fmt: skip


# The supervisor.


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


def main() -> int:
    """Run the supervisor that the argument describes; returns its exit code."""
    asked = json.loads(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # SIGQUIT would leave a core file
    folder = Path(asked["folder"])
    from imagegen import logs  # noqa: PLC0415
    from imagegen.metrics import files  # noqa: PLC0415

    shared = files.share(workers=2)
    logs.configure("json", "info", [], "supervisor")
    write_note(folder, "shared", folder=str(shared))
    if asked["reaps_strangers"]:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    if asked["interrupted_fork"]:
        interrupt_fork(asked["interrupted_fork"])
    fail_forks(asked["failing_forks"])
    try:
        return supervise(asked, folder)
    finally:
        files.remove(shared)


def supervise(asked: dict[str, Any], folder: Path) -> int:
    # Imported only now: metrics are made when they are imported.
    from imagegen.supervisor import child, supervisor  # noqa: PLC0415

    for name, value in asked["constants"].items():
        setattr(supervisor if hasattr(supervisor, name) else child, name, value)
    children = asked["children"]

    def run(behaviour: str, context: "ChildContext") -> None:
        CHILDREN[behaviour](Part(context, folder))

    def make(role: str, behaviour: str) -> "Child":
        return child.Child(role, partial(run, behaviour))

    def make_worker(worker_id: int) -> "Child":
        role = f"worker-{worker_id}"
        return make(role, children.get(role, children["worker-0"]))

    return supervisor.Supervisor(
        make("exporter", children.get("exporter", "is_quiet")),
        make_worker,
        workers=sum(role.startswith("worker") for role in children),
        name="test",
        grace_seconds=asked["grace_seconds"],
        watchdog_seconds=asked["watchdog_seconds"],
    ).run()


if __name__ == "__main__":
    sys.exit(main())
