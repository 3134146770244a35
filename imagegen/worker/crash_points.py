"""Named points where a drill can end a process: `IMAGEGEN_CRASH_AT`, for tests only.

`requested:kill:/tmp/once` ends the process with SIGKILL the first time that any process reaches
the point `requested`; the file says that it has happened. `exit` leaves through os._exit,
`kill-supervisor` kills the parent, `freeze` stops the process until SIGCONT, and `hang` stays there
for ever. Without the variable a point costs a comparison.
"""

import os
import signal
import threading
from pathlib import Path

POINTS = ("claimed", "requested", "posted", "identified", "looked", "closed")

_at, _, _rest = os.environ.get("IMAGEGEN_CRASH_AT", "").partition(":")
_how, _, _once = _rest.partition(":")


def reach(name: str) -> None:
    """End the process here if IMAGEGEN_CRASH_AT says so."""
    if name == _at and _first():
        _end()


def _first() -> bool:
    try:
        Path(_once).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _end() -> None:
    match _how:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "kill-supervisor":
            os.kill(os.getppid(), signal.SIGKILL)
            signal.pause()  # the kernel ends this process along with its parent
        case "freeze":
            # To this thread, which would go on for a moment where another one takes the signal.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        case "hang":
            threading.Event().wait()
        case _:
            os._exit(1)
