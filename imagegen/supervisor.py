"""The parent process: forks the exporter and the workers, replaces what dies, and stops them.

It knows processes, not tokens (law 7): no database, no HTTP, and no threads, for a forked child
inherits every lock that some other thread holds.
"""

import gc
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from signal import SIGCHLD, SIGINT, SIGKILL, SIGQUIT, SIGTERM

from imagegen import metric_files, metrics, process
from imagegen.logs import log

MAX_RESTART_DELAY_SECONDS = 30.0
# A child that lived this long was healthy; its next restart is immediate again.
HEALTHY_SECONDS = 60.0
# What a worker may need beyond its grace, to hand over.
STOP_MARGIN_SECONDS = 5.0


@dataclass
class Child:
    """A place that a process fills: when one dies, the next takes over from it."""

    role: str  # "exporter", "worker-0", …
    run: Callable[[str, str | None], None]  # with its own name and its predecessor's
    pid: int | None = None
    name: str | None = None
    incarnation: int = 0
    started: float = 0.0  # monotonic
    quick_deaths: int = 0
    start_at: float = field(default_factory=time.monotonic)

    @property
    def is_worker(self) -> bool:
        return self.role.startswith("worker")


class Supervisor:
    """Keeps a set of children running until it is told to stop."""

    def __init__(self, children: list[Child], name: str, grace_seconds: float) -> None:
        self._children = children
        self._name = name
        self._grace_seconds = grace_seconds
        self._stop_asked: float | None = None  # monotonic
        self._signals = process.Signals([SIGCHLD, SIGTERM, SIGINT, SIGQUIT])

    def run(self) -> None:
        """Start the children and watch them; returns when all of them have ended."""
        # What lives now lives for ever: the collector shall not touch it, or its pages, shared
        # with the children, are copied.
        gc.collect()
        gc.freeze()
        log.info("supervisor.started", extra={"pid": os.getpid()})
        while self._stop_asked is None or self._alive():
            self._start_what_is_due()
            for number in self._signals.wait(self._next_event_seconds()):
                self._handle(number)
            self._reap()
            self._end_what_overstays()
        log.info("supervisor.stopped")

    def _handle(self, number: signal.Signals) -> None:
        if number is SIGCHLD:
            return
        if self._stop_asked is None and number is not SIGQUIT:
            self._stop_asked = time.monotonic()
            log.info("supervisor.stopping", extra={"signal": number.name})
            self._send(SIGTERM)
        else:  # asked again, or at once from the start
            self._stop_asked = self._stop_asked or time.monotonic()
            self._grace_seconds = 0.0
            self._send(SIGQUIT)

    def _start_what_is_due(self) -> None:
        for child in self._children:
            if (
                child.pid is None
                and self._stop_asked is None
                and child.start_at <= time.monotonic()
            ):
                self._start(child)
        metrics.WORKERS.set(len(self._alive(workers=True)))

    def _start(self, child: Child) -> None:
        predecessor, incarnation = child.name, child.incarnation + 1
        name = f"{self._name}:{child.role}.{incarnation}"
        child.started = time.monotonic()
        try:
            pid = process.fork()
        except OSError as error:  # no memory or no process left, for now
            log.error("process.fork.failed", extra={"role": child.role, "error": str(error)})
            self._put_off(child)
            return
        if pid == 0:
            _run_child(child, name, predecessor)
        child.pid, child.name, child.incarnation = pid, name, incarnation

    def _reap(self) -> None:
        """Take in every child that ended. Strangers are reaped too: this may be PID 1."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for child in self._children:
                if child.pid == pid:
                    self._bury(child, process.cause(status))

    def _bury(self, child: Child, cause: str) -> None:
        pid, child.pid = child.pid, None
        metric_files.forget_gauges(child.role)
        if self._stop_asked is not None:
            if not self._alive(workers=True):
                self._send(SIGTERM)  # the exporter, last: it serves until the workers are done
            return
        if time.monotonic() - child.started > HEALTHY_SECONDS:
            child.quick_deaths = 0
        delay = self._put_off(child)
        said = {"role": child.role, "pid": pid, "cause": cause, "again_seconds": delay}
        log.error("process.died", extra=said)
        if child.is_worker:
            metrics.WORKER_RESTARTS.labels(child.role, cause).inc()

    def _put_off(self, child: Child) -> float:
        """Let a child start again after its delay, which is returned."""
        delay = restart_delay_seconds(child.quick_deaths)
        child.quick_deaths += 1
        child.start_at = time.monotonic() + delay
        return delay

    def _alive(self, *, workers: bool = False) -> list[Child]:
        running = [child for child in self._children if child.pid is not None]
        return [child for child in running if child.is_worker] if workers else running

    def _to_end(self) -> list[Child]:
        """The workers, then what is left: the exporter serves until they are gone."""
        return self._alive(workers=True) or self._alive()

    def _send(self, number: signal.Signals) -> None:
        for child in self._to_end():
            if child.pid is not None:
                os.kill(child.pid, number)

    def _next_event_seconds(self) -> float | None:
        """Until a child is due to start or to be killed; None: only a signal can come."""
        if self._stop_asked is not None:
            return max(self._kill_at() - time.monotonic(), 0.0)
        due = [child.start_at for child in self._children if child.pid is None]
        return max(min(due) - time.monotonic(), 0.0) if due else None

    def _kill_at(self) -> float:
        assert self._stop_asked is not None  # noqa: S101
        return self._stop_asked + self._grace_seconds + STOP_MARGIN_SECONDS

    def _end_what_overstays(self) -> None:
        if self._stop_asked is not None and time.monotonic() >= self._kill_at():
            for child in self._to_end():
                log.error("process.killed", extra={"role": child.role, "pid": child.pid})
            self._send(SIGKILL)
            self._stop_asked = time.monotonic()  # the exporter, if it is still there, has its time


def _run_child(child: Child, name: str, predecessor: str | None) -> None:
    """The whole life of a child. It never returns into the supervisor's stack."""
    code = 1
    try:
        metric_files.become(child.role)
        child.run(name, predecessor)
        code = 0
    except BaseException:  # noqa: BLE001
        # The outermost handler of a process: it is replaced, and the log says what happened.
        log.critical("process.crashed", exc_info=True, extra={"role": child.role})
    finally:
        os._exit(code)


def restart_delay_seconds(quick_deaths: int) -> float:
    """0, 1, 2, 4 … 30 s, for a child that died so many times before it was healthy."""
    if not quick_deaths:
        return 0.0
    # The exponent is bounded as well: a child may die so often that 2.0 ** n overflows.
    return min(2.0 ** min(quick_deaths - 1, 10), MAX_RESTART_DELAY_SECONDS)
