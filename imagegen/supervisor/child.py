"""One child of the supervisor: its process now, and when it may start again."""

import contextlib
import faulthandler
import math
import os
import select
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from imagegen.backoff import exponential, jittered
from imagegen.logs import log
from imagegen.metrics import definitions as metrics
from imagegen.metrics import shared_memory
from imagegen.supervisor import forking
from imagegen.supervisor.clock import AwakeClock
from imagegen.supervisor.pulse import Pulse

FIRST_RESTART_DELAY_SECONDS = 1.0
MAX_RESTART_DELAY_SECONDS = 30.0
# Workers that died at the same moment do not all start again at the same moment.
RESTART_JITTER = 0.1
# After a process has run for this long, the next restart is immediate again.
RESET_BACKOFF_SECONDS = 60.0
# From SIGABRT, which writes the stacks of a hung process, to SIGKILL.
STACKS_SECONDS = 2.0
READ_BYTES = 4096
# The byte of a heartbeat: the main loop runs, without a claim so far or after its first claim.
ALIVE, CLAIMING = b"\0", b"\1"


@dataclass(frozen=True)
class ChildContext:
    """The argument of a child's main function."""

    role: str  # `exporter`, `worker-0` …
    name: str  # unique: no other process ever has it
    predecessor: str | None  # the name of the process before it in this role, which is dead
    heartbeat: Callable[[], None]  # its main loop calls it in each round
    ready: Callable[[], None]  # a worker calls it when it has claimed
    supervisor_silent_seconds: Callable[[], float]  # since the supervisor's loop last went round


Run = Callable[[ChildContext], None]  # a child's main function


class Child:
    """A role, such as `worker-0`, and the process that has it now, if there is one."""

    def __init__(self, role: str, run: Run, clock: AwakeClock) -> None:
        """`role` is its name in logs and metrics: `exporter`, `worker-0` …"""
        if not shared_memory.reserve(role):
            log.warning("metrics.full", extra={"role": role})
        self._clock = clock
        self.role = role
        self.pid: int | None = None
        self.due_at = self._clock.now  # when it may start
        self.kill_at: float | None = None  # by the clock; set when a signal to stop was sent
        self.stop_reason = ""
        self.starts = 0
        self.failed_starts = 0  # in a row: it died soon, or could not be forked
        self.retired = False  # not to be started again
        self._run = run
        self._name: str | None = None
        self._started_at = 0.0  # by the clock
        self._heartbeats: int | None = None  # the reading end of a pipe
        self._last_heartbeat: float | None = None  # by the clock
        self._has_claimed = False

    @property
    def is_worker(self) -> bool:
        return self.role.startswith("worker")

    @property
    def awaits_start(self) -> bool:
        return self.pid is None and not self.retired

    @property
    def is_ready(self) -> bool:
        """Whether it runs, and its main loop has begun."""
        self._read_heartbeats()
        return self.pid is not None and self._last_heartbeat is not None

    @property
    def is_claiming(self) -> bool:
        """Whether it is a worker that has claimed, and got no signal to stop."""
        self._read_heartbeats()
        return self.pid is not None and self._has_claimed and not self.stop_reason

    @property
    def uptime_seconds(self) -> float:
        return self._clock.now - self._started_at

    def start(self, supervisor_name: str, pulse: Pulse) -> None:
        """Fork, and run the main function in the child, where this never returns.

        A fork that fails is logged, and tried again when `due_at` has come.
        """
        name = f"{supervisor_name}:{self.role}.{self.starts + 1}"
        self._started_at, self._last_heartbeat, self.stop_reason = self._clock.now, None, ""
        self._has_claimed = False
        supervisor_pid, writer = os.getpid(), None
        try:
            self._heartbeats, writer = os.pipe()
            os.set_blocking(self._heartbeats, False)
            os.set_blocking(writer, False)
            pid = forking.fork()
        except OSError as error:  # too little memory, or too many processes or open files
            log.error("process.fork.failed", extra={"role": self.role, "error": str(error)})
            metrics.FORK_FAILURES.inc()
            if writer is not None:
                os.close(writer)
            self._close_heartbeats()
            self.schedule_restart()
            return
        if pid == 0:
            os.close(self._heartbeats)
            heart = _Heart(writer, supervisor_pid)
            context = ChildContext(
                self.role, name, self._name, heart.beat, heart.claim, pulse.silent_seconds
            )
            _run_and_exit(self._run, context)
        os.close(writer)
        self.pid, self._name, self.starts = pid, name, self.starts + 1

    def reap(self) -> None:
        """Record that its process has ended."""
        self.pid = self.kill_at = None
        self.due_at = self._clock.now
        self._close_heartbeats()
        shared_memory.forget_gauges(self.role)

    def schedule_restart(self) -> float:
        """Set when it may start again. Return the delay until then, in seconds."""
        was_ready = self._last_heartbeat is not None or not self.is_worker
        if was_ready and self.uptime_seconds > RESET_BACKOFF_SECONDS:
            self.failed_starts = 0
        delay_seconds = restart_delay_seconds(self.failed_starts)
        self.failed_starts += 1
        self.due_at = self._clock.now + delay_seconds
        return delay_seconds

    def stop(self, reason: str, number: signal.Signals, within_seconds: float) -> None:
        """Send the signal; kill the process if it still runs after `within_seconds`."""
        if self.pid is not None:
            self.stop_reason = self.stop_reason or reason
            self.kill_at = min(self.kill_at or math.inf, self._clock.now + within_seconds)
            os.kill(self.pid, number)

    def abort_hung(self) -> None:
        """End it with a signal that makes it write the stacks of its threads first."""
        if not self.stop_reason:
            fields = {"role": self.role, "pid": self.pid, "booting": not self.is_ready}
            log.error("process.hung", extra=fields)
            self.stop("hung", signal.SIGABRT, STACKS_SECONDS)

    def kill_if_overdue(self) -> None:
        if self.pid is not None and self._clock.now >= (self.kill_at or math.inf):
            log.error("process.killed", extra={"role": self.role, "pid": self.pid})
            os.kill(self.pid, signal.SIGKILL)
            self.kill_at = None

    def silent_seconds(self) -> float:
        """Return the time since its last heartbeat, or since its start if there was none."""
        self._read_heartbeats()
        return self._clock.now - (self._last_heartbeat or self._started_at)

    def wait_for_heartbeat(self, seconds: float) -> None:
        """Wait until it sends a heartbeat or dies, at most `seconds`."""
        if self._heartbeats is not None:
            select.select([self._heartbeats], [], [], seconds)

    def _read_heartbeats(self) -> None:
        with contextlib.suppress(BlockingIOError):  # all read
            while self._heartbeats is not None and (read := os.read(self._heartbeats, READ_BYTES)):
                self._last_heartbeat = self._clock.now
                self._has_claimed = self._has_claimed or CLAIMING in read

    def _close_heartbeats(self) -> None:
        if self._heartbeats is not None:
            os.close(self._heartbeats)
            self._heartbeats = None


class _Heart:
    """Sends the heartbeats of a child."""

    def __init__(self, writer: int, supervisor_pid: int) -> None:
        self._writer = writer
        self._supervisor_pid = supervisor_pid
        self._says = ALIVE

    def beat(self) -> None:
        if os.getppid() != self._supervisor_pid:  # the kernel ends orphans on Linux only
            os._exit(1)
        with contextlib.suppress(BlockingIOError):  # the pipe is full of heartbeats not yet read
            os.write(self._writer, self._says)

    def claim(self) -> None:
        self._says = CLAIMING  # in every heartbeat from now on: one may be lost


def _run_and_exit(run: Run, context: ChildContext) -> NoReturn:
    """Run a child's main function, then end the process: to return would run the supervisor."""
    code = 1
    try:
        faulthandler.enable(sys.stderr)
        faulthandler.register(signal.SIGUSR1, sys.stderr)
        shared_memory.become(context.role)
        run(context)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001
        # The outermost handler of a process: it is replaced, and the log says what happened.
        log.critical("process.crashed", exc_info=True, extra={"role": context.role})
    finally:
        os._exit(code)


def restart_delay_seconds(failed_starts: int) -> float:
    """Return 0, 1, 2, 4 … 30 s with jitter, by the failed starts in a row."""
    delay_seconds = exponential(
        failed_starts,
        first_seconds=FIRST_RESTART_DELAY_SECONDS,
        most_seconds=MAX_RESTART_DELAY_SECONDS,
    )
    return jittered(delay_seconds, RESTART_JITTER)
