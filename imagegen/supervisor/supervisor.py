"""The parent process: forks the exporter and the workers, replaces what dies, and stops them.

It knows processes, not tokens (law 7): no database, no HTTP, and no threads, for a forked child
inherits every lock that some other thread holds.
"""

import faulthandler
import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from signal import SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1

from imagegen.errors import CONFIGURATION
from imagegen.logs import log
from imagegen.metrics import definitions as metrics
from imagegen.supervisor import forking, systemd
from imagegen.supervisor.child import Child
from imagegen.supervisor.signals import Signals

# What a worker may need beyond its grace, to hand over.
STOP_MARGIN_SECONDS = 5.0
# A worker that has not begun its main loop after so long hangs; it waits for nothing then but a
# database, and it beats while it does.
BOOT_SECONDS = 60.0
# How often to look whether a worker has begun, which does not announce itself.
BOOT_LOOK_SECONDS = 0.1
# When no worker has lived through this in a minute, a restart of the whole may help, or a person.
STEADY_SECONDS = 10.0
GIVE_UP_SECONDS = 60.0
FAILED = 1  # exit code


class Supervisor:
    """Keeps its children running until it is told to stop."""

    def __init__(
        self,
        exporter: Child,
        make_worker: Callable[[int], Child],
        *,
        workers: int,
        name: str,
        grace_seconds: float,
        watchdog_seconds: float,
    ) -> None:
        self._children = [exporter, *(make_worker(slot) for slot in range(workers))]
        self._make_worker = make_worker
        self._name = name
        self._grace_seconds = grace_seconds
        self._watchdog_seconds = watchdog_seconds
        self._stopping = False
        self._exit_code = 0
        self._rolling: list[tuple[Child, int]] = []  # who is yet to be replaced, in which life
        self._steady_at = time.monotonic()
        self._watch_at = 0.0  # monotonic
        self._watched = [SIGCHLD, SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGTTIN, SIGTTOU]
        self._signals = Signals(self._watched)

    def run(self) -> int:
        """Start the children and watch them until all of them have ended; returns the exit code.

        0: it was told to stop. 1: no worker could be kept alive. 78: a worker found a mistake in
        the configuration.
        """
        faulthandler.enable(sys.stderr)  # systemd's watchdog ends it with SIGABRT
        faulthandler.register(SIGUSR1, sys.stderr)
        # What lives now lives for ever: the collector shall not touch it, or its pages, shared
        # with the children, are copied.
        gc.collect()
        gc.freeze()
        log.info("supervisor.started", extra={"pid": os.getpid()})
        while not self._stopping or self._alive():
            self._start_what_is_due()
            for number in self._signals.wait(self._next_event_seconds()):
                self._handle(number)
            self._reap()
            self._watch()
            self._roll()
            for child in self._alive():
                child.kill_when_over()
        log.info("supervisor.stopped", extra={"exit_code": self._exit_code})
        return self._exit_code

    def _handle(self, number: signal.Signals) -> None:
        match number:
            case signal.SIGTERM | signal.SIGINT | signal.SIGQUIT:
                self._stop(at_once=self._stopping or number is SIGQUIT, why=number.name)
            case signal.SIGHUP if not self._stopping:
                log.info("supervisor.rolling")
                self._rolling = [(child, child.incarnation) for child in self._workers()]
            case signal.SIGTTIN if not self._stopping:
                # A retired place is filled again: it knows its last name, and waits for its end.
                if retired := [child for child in self._children if child.retired]:
                    min(retired, key=lambda child: child.slot).retired = False
                else:
                    self._children.append(self._make_worker(len(self._workers())))
            case signal.SIGTTOU if not self._stopping and len(self._workers()) > 1:
                last = max(self._workers(), key=lambda child: child.slot)
                last.retired = True
                self._end(last, "retired")

    def _start_what_is_due(self) -> None:
        for child in self._children:
            if child.is_due and not self._stopping:
                child.start(self._name)
                self._watch_at = 0.0  # to see it begin
        metrics.WORKERS.set(len(self._alive(workers=True)))
        metrics.WORKERS_WANTED.set(0 if self._stopping else len(self._workers()))

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
                    self._bury(child, forking.cause(status))

    def _bury(self, child: Child, cause: str) -> None:
        pid = child.pid
        if child.is_worker and child.is_up and child.lived_seconds > STEADY_SECONDS:
            self._steady_at = time.monotonic()
        child.bury()
        if child.is_worker and cause == f"exit-{CONFIGURATION}" and not self._stopping:
            self._exit_code = CONFIGURATION
            self._stop(at_once=False, why=cause)
        if self._stopping:
            if not self._alive(workers=True):
                for last in self._alive():  # the exporter: it serves while there are workers
                    self._end(last, "stopped")
            return
        if child.ending in {"replaced", "retired"}:
            return
        cause = child.ending or cause
        again_seconds = child.put_off()
        said = {"role": child.role, "pid": pid, "cause": cause, "again_seconds": again_seconds}
        log.error("process.died", extra=said)
        if child.is_worker:
            metrics.WORKER_RESTARTS.labels(child.role, cause).inc()

    def _stop(self, *, at_once: bool, why: str) -> None:
        if not self._stopping:
            log.info("supervisor.stopping", extra={"why": why})
            systemd.notify("STOPPING=1")
        self._stopping, self._rolling = True, []
        if at_once:
            self._grace_seconds = 0.0
        for child in self._alive(workers=True) or self._alive():
            if at_once or not child.ending:  # told twice, a worker hurries
                self._end(child, "stopped", SIGQUIT if at_once else SIGTERM)

    def _end(self, child: Child, why: str, number: signal.Signals = SIGTERM) -> None:
        child.end(why, number, self._grace_seconds + STOP_MARGIN_SECONDS)

    def _roll(self) -> None:
        """Replace one worker after the other, each when the one before it is at work."""
        while self._rolling:
            child, incarnation = self._rolling[0]
            if child.incarnation == incarnation and not child.retired:
                if not child.ending:
                    self._end(child, "replaced")
                return
            if not child.is_up and not child.retired:
                return
            self._rolling.pop(0)

    def _watch(self) -> None:
        """Now and then: end who hangs, give up where nobody lives, tell systemd how it is."""
        now = time.monotonic()
        if now < self._watch_at:
            return
        for child in self._alive():
            silent_seconds = child.silent_seconds()
            limit = self._watchdog_seconds if child.is_up else BOOT_SECONDS
            if silent_seconds > limit:
                child.end_as_hung()
            elif child.is_worker and child.is_up and child.lived_seconds > STEADY_SECONDS:
                self._steady_at = now
        if now - self._steady_at > GIVE_UP_SECONDS and not self._stopping and self._all_shaky():
            log.critical("supervisor.gave_up", extra={"seconds": GIVE_UP_SECONDS})
            self._exit_code = FAILED
            self._stop(at_once=False, why="no worker stays alive")
        alive = self._alive(workers=True)
        begun = [child for child in alive if child.is_up]  # asked once: a beat may come meanwhile
        self._tell_systemd(sum(not child.retired for child in begun))
        booting = len(begun) < len(alive)
        pause = min(self._watchdog_seconds / 4, systemd.watchdog_seconds() / 2)
        self._watch_at = now + (min(BOOT_LOOK_SECONDS, pause) if booting else pause)

    def _tell_systemd(self, up: int) -> None:
        state = f"WATCHDOG=1\nSTATUS={up} of {len(self._workers())} workers"
        systemd.notify(f"READY=1\n{state}" if up and not self._stopping else state)

    def _all_shaky(self) -> bool:
        return all(child.quick_deaths > 1 for child in self._workers())

    def _workers(self) -> list[Child]:
        return [child for child in self._children if child.is_worker and not child.retired]

    def _alive(self, *, workers: bool = False) -> list[Child]:
        running = [child for child in self._children if child.pid is not None]
        return [child for child in running if child.is_worker] if workers else running

    def _next_event_seconds(self) -> float:
        """Until a child is due to start or to be killed, or it is time to look after them."""
        times = [self._watch_at]
        times += [child.kill_at for child in self._alive() if child.kill_at is not None]
        if not self._stopping:
            times += [
                child.start_at
                for child in self._children
                if child.pid is None and not child.retired
            ]
        return max(min(times) - time.monotonic(), 0.0)
