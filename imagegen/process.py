"""Processes: signals in order, children that die with their parent, names of what ended them."""

import contextlib
import ctypes
import os
import select
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterable
from types import FrameType

PR_SET_PDEATHSIG = 1  # from linux/prctl.h


class Signals:
    """The signals of this process, taken one after the other where it waits for them."""

    def __init__(self, signals: Iterable[signal.Signals]) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        # The socket only wakes: it may be full, and what came in then would be lost with it.
        self._noted: deque[signal.Signals] = deque()
        for number in signals:
            signal.signal(number, self._note)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)

    def wait(self, seconds: float | None) -> list[signal.Signals]:
        """What has come in, after waiting for it at most so long (None: as long as it takes)."""
        ready, _, _ = select.select([self._reader], [], [], seconds)
        if ready:
            self._reader.recv(4096)
        return [self._noted.popleft() for _ in range(len(self._noted))]

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._noted.append(signal.Signals(number))


def fork() -> int:
    """Fork; 0 in the child, which starts with default signals and dies with its parent.

    Signals are held back meanwhile: one that came in between would reach the parent's handlers in
    the child and be lost.
    """
    tie_to_parent = dies_with_this_process(signal.SIGKILL)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # whoever read it is gone: no reason to stop
            stream.flush()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
    except OSError:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        raise
    if pid == 0:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)
        # Ctrl-C in a terminal goes to every process of the group; the parent passes it on.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        tie_to_parent()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def dies_with_this_process(number: signal.Signals) -> Callable[[], None]:
    """What a child of this process calls first, so that the kernel sends it `number` when this
    process dies. Linux only; elsewhere it does nothing.

    Prepared before the fork: the child of a process with threads may not even import. A change of
    user undoes it. To the kernel, the parent is the thread that forks.
    """
    if sys.platform != "linux":
        return lambda: None
    libc, parent = ctypes.CDLL(None), os.getpid()

    def tie_to_parent() -> None:
        libc.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(number))
        if os.getppid() != parent:  # it died before the call
            os._exit(1)

    return tie_to_parent


def cause(status: int) -> str:
    """How a process ended, from its wait status: `exit-1`, `SIGKILL`, `signal-35`."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exit-{code}"
    try:
        return signal.Signals(-code).name
    except ValueError:  # a real-time signal
        return f"signal-{-code}"
