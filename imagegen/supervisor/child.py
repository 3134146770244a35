"""One place in the supervisor: the process that fills it now, and when the next one may."""

import contextlib
import faulthandler
import math
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from signal import SIGABRT, SIGKILL, SIGUSR1

from imagegen.logs import log
from imagegen.metrics import files
from imagegen.supervisor import forking

MAX_RESTART_DELAY_SECONDS = 30.0
RESTART_JITTER = 0.1
# A child that lived this long was healthy; its next restart is immediate again.
HEALTHY_SECONDS = 60.0
# Between the order to write down the stacks and the end of the hung process.
STACKS_SECONDS = 2.0
BEAT = b"\0"


@dataclass(frozen=True)
class Life:
    """What a child is told when it starts."""

    name: str  # its own, and no other's, ever
    predecessor: str | None  # who filled the place before, and is dead
    beat: Callable[[], None]  # to be called again and again by its main loop


class Child:
    """A place that a process fills. When one dies, the next takes over from it."""

    def __init__(self, role: str, run: Callable[[Life], None]) -> None:
        """`role` is its name in logs and metrics: `exporter`, `worker-0` …"""
        self.role = role
        self.pid: int | None = None
        self.start_at = time.monotonic()
        self.started = 0.0  # monotonic
        self.kill_at: float | None = None  # monotonic; set when it is told to end
        self.ending = ""  # why it was told to
        self.quick_deaths = 0
        self.incarnation = 0
        self.retired = False  # not to be filled again
        self._run = run
        self._name: str | None = None
        self._beats: int | None = None  # the pipe that its beats come through
        self._last_beat: float | None = None  # monotonic

    @property
    def is_worker(self) -> bool:
        return self.role.startswith("worker")

    @property
    def is_due(self) -> bool:
        return self.pid is None and not self.retired and time.monotonic() >= self.start_at

    @property
    def is_up(self) -> bool:
        """Whether it runs, and its main loop has begun."""
        self._read_beats()
        return self.pid is not None and self._last_beat is not None

    @property
    def lived_seconds(self) -> float:
        return time.monotonic() - self.started

    @property
    def slot(self) -> int:
        """Which worker it is, counted from 0."""
        return int(self.role.rpartition("-")[2])

    def start(self, supervisor_name: str) -> None:
        """Fork; in the child this never returns."""
        name = f"{supervisor_name}:{self.role}.{self.incarnation + 1}"
        self.started, self._last_beat, self.ending = time.monotonic(), None, ""
        supervisor, beats = os.getpid(), None
        try:
            self._beats, beats = os.pipe()
            os.set_blocking(self._beats, False)
            os.set_blocking(beats, False)
            pid = forking.fork()
        except OSError as error:  # no memory, process or open file left, for now
            log.error("process.fork.failed", extra={"role": self.role, "error": str(error)})
            if beats is not None:
                os.close(beats)
            self._forget_beats()
            self.put_off()
            return
        if pid == 0:
            os.close(self._beats)
            life = Life(name, self._name, lambda: _beat(beats, supervisor))
            _live(self.role, self._run, life)
        os.close(beats)
        self.pid, self._name, self.incarnation = pid, name, self.incarnation + 1

    def bury(self) -> None:
        """Its process has ended."""
        self.pid = self.kill_at = None
        self.start_at = time.monotonic()
        self._forget_beats()
        files.forget_gauges(self.role)

    def put_off(self) -> float:
        """Let it start again after a delay, which is returned."""
        began = self._last_beat is not None or not self.is_worker
        if began and self.lived_seconds > HEALTHY_SECONDS:
            self.quick_deaths = 0
        delay = restart_delay_seconds(self.quick_deaths)
        self.quick_deaths += 1
        self.start_at = time.monotonic() + delay
        return delay

    def tell(self, number: signal.Signals) -> None:
        if self.pid is not None:
            os.kill(self.pid, number)

    def end(self, why: str, number: signal.Signals, within_seconds: float) -> None:
        """Tell it to end; whatever it does then, its time is over after so many seconds."""
        if self.pid is not None:
            self.ending = self.ending or why
            self.kill_at = min(self.kill_at or math.inf, time.monotonic() + within_seconds)
            self.tell(number)

    def kill_when_over(self) -> None:
        if self.kill_at is not None and time.monotonic() >= self.kill_at:
            log.error("process.killed", extra={"role": self.role, "pid": self.pid})
            self.tell(SIGKILL)
            self.kill_at = None

    def silent_seconds(self) -> float:
        """Since its last beat, or since its start when there was none."""
        self._read_beats()
        return time.monotonic() - (self._last_beat or self.started)

    def _read_beats(self) -> None:
        with contextlib.suppress(BlockingIOError):  # all read
            while self._beats is not None and os.read(self._beats, 4096):
                self._last_beat = time.monotonic()

    def end_as_hung(self) -> None:
        """Have it write down where its threads are, and end it."""
        if not self.ending:
            said = {"role": self.role, "pid": self.pid, "booting": not self.is_up}
            log.error("process.hung", extra=said)
            self.end("hung", SIGABRT, STACKS_SECONDS)

    def _forget_beats(self) -> None:
        if self._beats is not None:
            os.close(self._beats)
            self._beats = None


def _beat(beats: int, supervisor: int) -> None:
    if os.getppid() != supervisor:  # where the kernel does not kill the child of a dead parent
        os._exit(1)
    with contextlib.suppress(BlockingIOError):  # there are plenty that nobody has read yet
        os.write(beats, BEAT)


def _live(role: str, run: Callable[[Life], None], life: Life) -> None:
    """The whole life of a child. It never returns into the supervisor's stack."""
    code = 1
    try:
        faulthandler.enable(sys.stderr)
        faulthandler.register(SIGUSR1, sys.stderr)
        files.become(role)
        run(life)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001
        # The outermost handler of a process: it is replaced, and the log says what happened.
        log.critical("process.crashed", exc_info=True, extra={"role": role})
    finally:
        os._exit(code)


def restart_delay_seconds(quick_deaths: int) -> float:
    """0, 1, 2, 4 … 30 s with jitter, for a child that died so often before it was healthy."""
    if not quick_deaths:
        return 0.0
    # The exponent is bounded as well: a child may die so often that 2.0 ** n overflows.
    delay = min(2.0 ** min(quick_deaths - 1, 10), MAX_RESTART_DELAY_SECONDS)
    return delay * random.uniform(1 - RESTART_JITTER, 1 + RESTART_JITTER)  # noqa: S311 (no secret)
