"""No core dumps: the memory of a process holds the API token and passwords."""

import ctypes
import resource
import sys

PR_SET_DUMPABLE = 4  # from linux/prctl.h


def forbid() -> None:
    """Let no signal, such as Ctrl-\\ or SIGABRT, write a core of this process and its forks.

    On Linux other processes of the same user cannot read its memory either; root's can. The limit
    alone would have no effect where cores are piped to a program (core(5)).
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0)
