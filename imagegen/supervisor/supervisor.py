"""The parent process: forks the exporter and the workers, replaces what dies, and stops them.

It knows processes, not tokens (law 7): no database and no HTTP. It has no threads either: a forked
child inherits every lock that another thread holds.
"""

import faulthandler
import gc
import os
import signal
import sys
from signal import SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2

from imagegen.logs import log
from imagegen.metrics import definitions as metrics
from imagegen.supervisor import forking, systemd
from imagegen.supervisor.child import Child, Run
from imagegen.supervisor.clock import AwakeClock
from imagegen.supervisor.pulse import Pulse
from imagegen.supervisor.signals import Signals

HANDLED_SIGNALS = [SIGCHLD, SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGTTIN, SIGTTOU]
# A worker may need this much beyond its grace, to release its leases.
STOP_MARGIN_SECONDS = 5.0
# A worker that has sent no heartbeat this long after its start hangs. It sends them also while it
# waits for the database.
BOOT_SECONDS = 60.0
# How long the first workers wait for the exporter's first heartbeat.
EXPORTER_FIRST_SECONDS = 2.0
# The time between two looks for the first heartbeat of a worker that boots.
BOOT_LOOK_SECONDS = 0.1
# The longest time between two rounds of the supervisor's loop; /healthz fails after several times
# as much.
PULSE_SECONDS = 5.0
# A worker that has run for this long is healthy. If none was for GIVE_UP_SECONDS, the supervisor
# ends: a restart of the service may help, or a person.
HEALTHY_SECONDS = 10.0
GIVE_UP_SECONDS = 60.0
# The role of a worker that takes part while the others are replaced. If it has not claimed after
# SPARE_SECONDS, other new workers probably could not either, so no worker is stopped.
SPARE = "worker-spare"
SPARE_SECONDS = 60.0
FAILED = 1  # exit code


class Supervisor:
    """Keeps its children running until a signal stops it."""

    def __init__(
        self,
        export: Run,
        work: Run,
        *,
        workers: int,
        name: str,
        grace_seconds: float,
        watchdog_seconds: float,
    ) -> None:
        """`export` and `work` are the main functions of the exporter and of each worker."""
        self._clock = AwakeClock()
        self._pulse = Pulse()
        self._work = work
        self._spare = self._new_worker(SPARE)
        self._spare.retired = True
        self._children = [Child("exporter", export, self._clock), self._spare]
        for number in range(workers):
            self._children.append(self._new_worker(f"worker-{number}"))
        self._name = name
        self._grace_seconds = grace_seconds
        self._watchdog_seconds = watchdog_seconds
        self._stopping = False
        self._exit_code = 0
        self._rolling: list[tuple[Child, int]] = []  # to be replaced, with their `starts` by then
        self._was_ready = False  # systemd was notified of it
        self._spare_due_at = 0.0  # by the clock
        self._healthy_at = self._clock.now  # when a worker was last seen healthy
        self._watch_at = 0.0  # by the clock
        self._signals = Signals(HANDLED_SIGNALS)
        signal.signal(SIGUSR2, signal.SIG_IGN)  # by default it ends the process

    def run(self) -> int:
        """Start the children, watch them until all have ended, and return the exit code.

        0: a signal stopped it. 1: no worker could be kept alive.
        """
        faulthandler.enable(sys.stderr)  # systemd's watchdog ends it with SIGABRT
        faulthandler.register(SIGUSR1, sys.stderr)
        # What exists now is never freed. Hide it from the garbage collector, which would write to
        # pages that are shared with the children, and so copy them.
        gc.collect()
        gc.freeze()
        log.info("supervisor.started", extra={"pid": os.getpid()})
        while not self._stopping or self._alive():
            self._pulse.beat()
            self._start_due()
            seconds = self._next_event_seconds()
            received = self._signals.wait(seconds)
            self._clock.advance(seconds)
            for number in received:
                self._handle(number)
            self._reap()
            self._watch()
            self._roll()
            for child in self._children:
                child.kill_if_overdue()
        log.info("supervisor.stopped", extra={"exit_code": self._exit_code})
        return self._exit_code

    def _start_due(self) -> None:
        for child in self._children:
            if not self._stopping and child.awaits_start and self._clock.now >= child.due_at:
                child.start(self._name, self._pulse)
                if not child.is_worker and child.starts == 1:
                    # The probes get a connection before the workers take them all.
                    child.wait_for_heartbeat(EXPORTER_FIRST_SECONDS)
                self._watch_at = 0.0  # look for its first heartbeat at once
        metrics.WORKERS.set(len(self._alive_workers()))
        metrics.WORKERS_WANTED.set(0 if self._stopping else len(self._workers()))

    def _next_event_seconds(self) -> float:
        """Return the time until a child is due to start or to be killed, or the next watch."""
        times = [self._watch_at]
        times += [child.kill_at for child in self._children if child.kill_at is not None]
        if not self._stopping:
            times += [child.due_at for child in self._children if child.awaits_start]
        return max(min(times) - self._clock.now, 0.0)

    def _handle(self, number: signal.Signals) -> None:
        match number:
            case signal.SIGTERM | signal.SIGINT | signal.SIGQUIT:
                self._stop(at_once=self._stopping or number is SIGQUIT, reason=number.name)
            case signal.SIGHUP if not self._stopping:
                self._begin_roll()
            case signal.SIGTTIN if not self._stopping:
                self._add_worker()
            case signal.SIGTTOU if not self._stopping and len(self._workers()) > 1:
                self._retire(self._workers()[-1])

    def _add_worker(self) -> None:
        """Start a retired worker again, as soon as its process has ended, or make a new one."""
        slots = [child for child in self._children if child.is_worker and child is not self._spare]
        if retired := [child for child in slots if child.retired]:
            retired[0].retired = False
        else:
            self._children.append(self._new_worker(f"worker-{len(slots)}"))

    def _new_worker(self, role: str) -> Child:
        return Child(role, self._work, self._clock)

    def _retire(self, worker: Child) -> None:
        worker.retired = True
        self._stop_child(worker, "retired")

    def _reap(self) -> None:
        """Reap every process that has ended, also orphans of others: this may be PID 1."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for child in self._children:
                if child.pid == pid:
                    self._handle_exit(child, pid, forking.cause(status))

    def _handle_exit(self, child: Child, pid: int, cause: str) -> None:
        if self._is_healthy(child):
            self._healthy_at = self._clock.now
        child.reap()
        if not self._stopping:
            if child.stop_reason not in {"replaced", "retired"}:
                self._restart(child, pid, child.stop_reason or cause)
        elif not self._alive_workers():
            for exporter in self._alive():  # it serves until the last worker has ended
                self._stop_child(exporter, "stopped")

    def _restart(self, child: Child, pid: int, cause: str) -> None:
        again_seconds = child.schedule_restart()
        fields = {"role": child.role, "pid": pid, "cause": cause, "again_seconds": again_seconds}
        log.error("process.died", extra=fields)
        if child.is_worker:
            # The metrics' label `slot` is the role, such as `worker-0`.
            metrics.WORKER_RESTARTS.labels(child.role, cause).inc()
        else:
            metrics.EXPORTER_RESTARTS.labels(cause).inc()

    def _watch(self) -> None:
        """At intervals, abort hung children, give up if no worker works, and notify systemd."""
        now = self._clock.now
        if now < self._watch_at:
            return
        for child in self._alive():
            limit_seconds = self._watchdog_seconds if child.is_ready else BOOT_SECONDS
            if child.silent_seconds() > limit_seconds:
                child.abort_hung()
            elif self._is_healthy(child):
                self._healthy_at = now
        are_crash_looping = all(child.failed_starts > 1 for child in self._workers())
        is_hopeless = are_crash_looping and now - self._healthy_at > GIVE_UP_SECONDS
        if is_hopeless and not self._stopping:
            log.critical("supervisor.gave_up", extra={"seconds": GIVE_UP_SECONDS})
            self._exit_code = FAILED
            self._stop(at_once=False, reason="no worker stays alive")
        alive = self._alive_workers()
        ready = [child for child in alive if child.is_ready]
        self._notify_systemd(sum(not child.retired for child in ready))
        pause_seconds = min(
            self._watchdog_seconds / 4, systemd.watchdog_seconds() / 2, PULSE_SECONDS
        )
        if len(ready) < len(alive) or self._rolling:
            pause_seconds = min(BOOT_LOOK_SECONDS, pause_seconds)
        self._watch_at = now + pause_seconds

    def _is_healthy(self, child: Child) -> bool:
        return child.is_worker and child.is_ready and child.uptime_seconds > HEALTHY_SECONDS

    def _notify_systemd(self, ready: int) -> None:
        wanted = len(self._workers())  # without the spare, which may be ready as well
        state = f"WATCHDOG=1\nSTATUS={min(ready, wanted)} of {wanted} workers"
        # While workers are replaced, READY=1 would end `systemctl reload`.
        if ready and not self._stopping and not (self._rolling and self._was_ready):
            self._was_ready = True
            state = f"READY=1\n{state}"
        systemd.notify(state)

    def _begin_roll(self) -> None:
        log.info("supervisor.rolling")
        if self._was_ready:
            systemd.notify_reloading()
        self._rolling = [(child, child.starts) for child in self._workers()]
        self._spare.retired, self._spare.failed_starts = False, 0
        self._spare.due_at = self._clock.now
        self._spare_due_at = self._spare.due_at + SPARE_SECONDS

    def _roll(self) -> None:
        """Replace the workers one by one, each when the one before it claims.

        The spare worker does the work of the one that is replaced, so it comes first and goes last.
        """
        if not self._rolling:
            return
        if self._spare.is_claiming:
            self._spare_due_at = self._clock.now + SPARE_SECONDS
        elif self._clock.now >= self._spare_due_at:
            self._abandon_roll("no new worker has claimed")
            return
        else:
            return
        while self._rolling:
            child, starts = self._rolling[0]
            if child.starts == starts and not child.retired:
                if not child.stop_reason:
                    self._stop_child(child, "replaced")
                return
            if not child.is_claiming and not child.retired:
                return
            self._rolling.pop(0)
        self._retire(self._spare)

    def _abandon_roll(self, reason: str) -> None:
        """Replace no more workers: those that were not replaced yet go on."""
        log.error("supervisor.roll.abandoned", extra={"error": reason, "left": len(self._rolling)})
        self._rolling = []
        self._retire(self._spare)

    def _stop(self, *, at_once: bool, reason: str) -> None:
        if not self._stopping:
            log.info("supervisor.stopping", extra={"why": reason})
            systemd.notify("STOPPING=1")
        self._stopping, self._rolling = True, []
        if at_once:
            self._grace_seconds = 0.0
        for child in self._alive_workers() or self._alive():
            if at_once or not child.stop_reason:  # a second signal would end a worker's grace
                self._stop_child(child, "stopped", SIGQUIT if at_once else SIGTERM)

    def _stop_child(self, child: Child, reason: str, number: signal.Signals = SIGTERM) -> None:
        child.stop(reason, number, self._grace_seconds + STOP_MARGIN_SECONDS)

    def _workers(self) -> list[Child]:
        """Return the workers that there should be, whether or not they have a process."""
        return [
            child
            for child in self._children
            if child.is_worker and not child.retired and child is not self._spare
        ]

    def _alive(self) -> list[Child]:
        return [child for child in self._children if child.pid is not None]

    def _alive_workers(self) -> list[Child]:
        return [child for child in self._alive() if child.is_worker]
