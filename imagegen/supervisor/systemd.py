"""Notifications to systemd (sd_notify(3)); nothing if it did not start this process."""

import contextlib
import math
import os
import socket
import time


def notify(state: str) -> None:
    """Send systemd `READY=1`, `STATUS=…`, `WATCHDOG=1` or `STOPPING=1`, a line each."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]  # Linux's abstract namespace
    # A notification that fails must not stop the supervisor.
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.setblocking(False)  # its queue may be full
        systemd.sendto(state.encode(), address)


def notify_reloading() -> None:
    """Let `systemctl reload` wait until the next `READY=1`."""
    notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def watchdog_seconds() -> float:
    """Return the longest time that systemd allows between two `WATCHDOG=1`; inf if it sets none."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return (int(microseconds) / 1e6 if microseconds.isdecimal() else 0.0) or math.inf
