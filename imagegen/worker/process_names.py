"""Names of processes in leases. They are unique, and show which processes of this host are dead.

`host:pid-start-place-random`; a supervisor's workers have its name with `:worker-0.1` after it.
`start` is when the process started, `place` stands for the kernel's boot and the namespace of the
pid. If /proc does not show these two, a name is `host:pid-random`, and never counts as dead.
PostgreSQL shows the first 63 bytes as `application_name`: the host and the pid.
"""

import hashlib
import os
import re
import secrets
import socket
from pathlib import Path

NAME = re.compile(
    r":(?P<pid>[0-9]{1,9})-(?P<start>[0-9a-f]+)-(?P<place>[0-9a-f]{6})-[0-9a-f]{8}(:|$)"
)
ENDED = {"Z", "X"}  # a zombie, which its parent has not reaped yet, and one that is being reaped


def unique_name() -> str:
    """Return a name that no other process ever has. Every write is fenced by it."""
    pid, place, status = os.getpid(), _place(), _status(os.getpid())
    origin = f"{status[1]}-{place}-" if place and status else ""
    return f"{socket.gethostname()}:{pid}-{origin}{secrets.token_hex(4)}"


def is_dead(name: str) -> bool:
    """Return whether the process of this name, or the supervisor in it, has surely ended.

    False if it may be alive: on another host, in another container, or if its name says too little.
    The kernel kills a supervisor's workers when it dies (PR_SET_PDEATHSIG). One may still run for a
    moment, which is no more than a lease that ran out: its writes are fenced (law 4), and a request
    that it may have sent is looked for in Replicate's list (law 2).
    """
    found = NAME.search(name)
    if found is None or found["place"] != _place():
        return False
    pid = int(found["pid"])
    try:
        os.kill(pid, 0)  # sends nothing
    except ProcessLookupError:
        return True
    except OSError:  # another user's, which /proc may hide
        pass
    status = _status(pid)
    return status is not None and (status[0] in ENDED or status[1] != found["start"])


def _place() -> str | None:
    """Return a hash of the host, its boot and the pid namespace; None if /proc lacks them."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = Path("/proc/self/ns/pid").readlink()
        if Path("/proc/self").readlink().name != str(os.getpid()):  # the /proc of another namespace
            return None
    except OSError:
        return None
    place = f"{socket.gethostname()} {boot} {namespace}"
    return hashlib.sha256(place.encode()).hexdigest()[:6]


def _status(pid: int) -> tuple[str, str] | None:
    """Return a process's state and when it started, in hexadecimal ticks since the boot; None if
    that cannot be read."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat.rpartition(b")")[2].split()  # after the pid and the name, see proc(5)
    return fields[0].decode(), f"{int(fields[19]):x}"
