"""Forks children that die with their parent, and names what ended a process."""

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1  # from linux/prctl.h
# Signals that a terminal or `kill -HUP -PGID` sends to every process of the group. The parent alone
# handles them, and sends its children other signals.
FOR_THE_PARENT = (signal.SIGHUP, signal.SIGINT, signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR2)


def fork() -> int:
    """Fork a child that dies with its parent. Return its pid, or 0 in it. Raises OSError.

    The child ignores FOR_THE_PARENT. All signals are blocked during the fork. Otherwise a signal
    that comes before the child has reset its handlers would run the parent's handlers in the
    child, and be lost.
    """
    tie_to_parent = dies_with_this_process(signal.SIGKILL)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # its reader has closed it
            stream.flush()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
    except OSError:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        raise
    if pid == 0:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)
        for number in FOR_THE_PARENT:
            signal.signal(number, signal.SIG_IGN)
        tie_to_parent()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def dies_with_this_process(number: signal.Signals) -> Callable[[], None]:
    """Return a function that makes the kernel send its caller `number` when this process dies.

    The child calls it first. Get it before the fork: in the child of a process with threads even an
    import may block. A change of user undoes its effect. For the kernel, the parent is the thread
    that forks. The function does nothing where the kernel is not Linux.
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
    """Return how a process ended, from its wait status: `exit-1`, `SIGKILL`, `signal-35`."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exit-{code}"
    try:
        return signal.Signals(-code).name
    except ValueError:  # a real-time signal
        return f"signal-{-code}"
