"""Children of a supervisor that notes what they do in a file: see `supervisor_program`."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from imagegen.supervisor.child import ChildContext


HEARTBEAT_SECONDS = 0.02
LONG_SECONDS = 1.0
DRAINING_BEATS = 15
PIPE_BYTES = 65_536
LAST_OF_MANY = 52


@dataclass(frozen=True)
class NotingChild:
    """A child whose behaviour is one of the functions below: what it can do, and its notes."""

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


def sleeps(child: NotingChild) -> NoReturn:
    """It ends when it is told to, and beats until then."""
    listen(child)
    child.note("started")
    send_heartbeats(child)


def listen(child: NotingChild) -> None:
    def end(number: int, frame: FrameType | None) -> None:
        child.note("ended", signal=signal.Signals(number).name)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGQUIT, end)


def send_heartbeats(child: NotingChild) -> NoReturn:
    child.note("began")
    child.context.ready()
    while True:
        child.context.heartbeat()
        time.sleep(HEARTBEAT_SECONDS)


def is_stubborn(child: NotingChild) -> NoReturn:
    """It goes on with its work when it is told to end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child.note("started")
    send_heartbeats(child)


def is_deaf(child: NotingChild) -> NoReturn:
    signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    is_stubborn(child)


def is_quiet(child: NotingChild) -> NoReturn:
    """It leaves no notes."""
    while True:
        child.context.heartbeat()
        time.sleep(HEARTBEAT_SECONDS)


def watches_its_supervisor(child: NotingChild) -> NoReturn:
    child.note("started")
    while True:
        child.context.heartbeat()
        is_silent = child.context.supervisor_silent_seconds() > LONG_SECONDS
        child.note("missed_the_supervisor" if is_silent else "heard_the_supervisor")
        time.sleep(HEARTBEAT_SECONDS)


def dies(child: NotingChild) -> NoReturn:
    child.note("started")
    raise RuntimeError("as it must")


def dies_after_a_healthy_life(child: NotingChild) -> NoReturn:
    child.note("started")
    child.context.heartbeat()
    time.sleep(0.3)
    raise RuntimeError("as it must")


def dies_many_times(child: NotingChild) -> NoReturn:
    """From its second life to the one before the last."""
    start = int(child.context.name.rpartition(".")[2])
    if 1 < start < LAST_OF_MANY:
        raise SystemExit(1)
    sleeps(child)


def counts_and_dies(child: NotingChild) -> NoReturn:
    from imagegen.metrics import definitions as metrics  # noqa: PLC0415

    metrics.ADOPTIONS.inc()
    metrics.SLOTS_BUSY.labels("worker-0").set(5)
    dies(child)


def leaves_an_orphan(child: NotingChild) -> NoReturn:
    """Its child outlives it, and then ends."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(writer)
        os.read(reader, 1)  # until the parent is gone
        os._exit(0)
    os.close(reader)
    sleeps(child)


def gets_stuck(child: NotingChild) -> NoReturn:
    """Its main loop stops after the first beat, while a thread goes on; its successor is well."""
    if not child.is_first:
        sleeps(child)
    listen(child)
    child.note("started")
    threading.Thread(target=a_slot_at_work, daemon=True).start()
    child.context.heartbeat()
    stuck_here()


def a_slot_at_work() -> NoReturn:
    while True:
        time.sleep(HEARTBEAT_SECONDS)


def stuck_here() -> NoReturn:
    while True:
        time.sleep(LONG_SECONDS)


def never_begins(child: NotingChild) -> NoReturn:
    """Nor does its main loop; its successor is well."""
    if not child.is_first:
        sleeps(child)
    child.note("started")
    stuck_here()


def beats_for_long(child: NotingChild) -> NoReturn:
    child.note("started")
    enough = time.monotonic() + LONG_SECONDS
    while time.monotonic() < enough:
        child.context.heartbeat()
        time.sleep(HEARTBEAT_SECONDS)
    child.note("beaten for long")
    send_heartbeats(child)


def beats_faster_than_anybody_reads(child: NotingChild) -> NoReturn:
    """Once it is told to go."""
    child.note("started")
    while not (child.folder / f"go-{child.context.role}").exists():
        child.context.heartbeat()
        time.sleep(HEARTBEAT_SECONDS)
    for _ in range(2 * PIPE_BYTES):
        child.context.heartbeat()
    child.note("beaten often")
    send_heartbeats(child)


def reboots_when_told(child: NotingChild) -> NoReturn:
    """Its first life begins at once, the others when a file says so."""
    listen(child)
    child.note("started")
    while not (child.is_first or (child.folder / f"go-{child.context.role}").exists()):
        time.sleep(HEARTBEAT_SECONDS)
    send_heartbeats(child)


def boots_when_told(child: NotingChild) -> NoReturn:
    child.note("started")
    while not (child.folder / f"go-{child.context.role}").exists():
        time.sleep(HEARTBEAT_SECONDS)
    send_heartbeats(child)


def never_ever_begins(child: NotingChild) -> NoReturn:
    child.note("started")
    stuck_here()


def drains_for_a_while(child: NotingChild) -> NoReturn:
    """When it is told to end, it works on a little."""

    def drain(number: int, frame: FrameType | None) -> None:
        for _ in range(DRAINING_BEATS):
            time.sleep(HEARTBEAT_SECONDS)
            child.context.heartbeat()
        child.note("ended")
        os._exit(0)

    signal.signal(signal.SIGTERM, drain)
    child.note("started")
    send_heartbeats(child)


def waits_for_the_database(child: NotingChild) -> NoReturn:
    child.note("started")
    while True:
        child.context.heartbeat()
        time.sleep(HEARTBEAT_SECONDS)


def counts_terms(child: NotingChild) -> NoReturn:
    signal.signal(signal.SIGTERM, lambda *_: child.note("told"))
    child.note("started")
    send_heartbeats(child)


CHILDREN: dict[str, Callable[[NotingChild], NoReturn]] = {
    each.__name__: each
    for each in (
        sleeps, is_stubborn, is_deaf, is_quiet, dies, dies_after_a_healthy_life, dies_many_times,
        counts_and_dies, leaves_an_orphan, gets_stuck, never_begins,
        beats_for_long, beats_faster_than_anybody_reads, reboots_when_told, boots_when_told,
        counts_terms, never_ever_begins, waits_for_the_database, drains_for_a_while,
        watches_its_supervisor,
    )
}  # fmt: skip
