"""The addresses of a host: resolved within a time limit, those that work before those that fail.

`socket.create_connection` resolves without a limit, and tries a dead address first every time.
"""

import ipaddress
import math
import socket
import threading
import time
from collections.abc import Iterator

# The longest wait for the name server if a host's addresses are known: they probably still hold.
KNOWN_SECONDS = 1.0


class Addresses:
    """The addresses of hosts, with the times at which they failed. Threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lookups: dict[str, _Lookup] = {}  # the last of each host
        self._known: dict[str, list[str]] = {}
        # By address and by family: the monotonic time of the last failure, until one works again.
        self._failed_at: dict[str, float] = {}

    def of(self, host: str, seconds: float) -> list[str]:
        """Return a host's addresses, best first. Raises OSError, which is a TimeoutError if the
        name server does not answer within `seconds`."""
        if _is_address(host):
            return [host]
        with self._lock:
            if not (lookup := self._lookups.get(host)) or not lookup.is_alive():
                lookup = self._lookups[host] = _Lookup(host)
                lookup.start()
            known = self._known.get(host)
        lookup.join(min(seconds, KNOWN_SECONDS) if known else seconds)
        if lookup.found:
            known = self._known[host] = lookup.found
        if not known:
            raise lookup.error or TimeoutError(f"no address of {host} within {seconds:g} s")
        return sorted(known, key=self._rank)

    def _rank(self, address: str) -> tuple[float, float]:
        """Return a key, the smallest for the best address. Mostly a whole family's route fails."""
        never = -math.inf
        return self._failed_at.get(address, never), self._failed_at.get(_family(address), never)

    def note_failure(self, address: str) -> None:
        self._failed_at[address] = self._failed_at[_family(address)] = time.monotonic()

    def note_success(self, address: str) -> None:
        for each in (address, _family(address)):
            self._failed_at.pop(each, None)


class _Lookup(threading.Thread):
    """One question to the name server. The process can end while it runs."""

    def __init__(self, host: str) -> None:
        super().__init__(daemon=True)
        self.found: list[str] = []
        self.error: OSError | None = None
        self._host = host

    def run(self) -> None:
        try:
            answers = socket.getaddrinfo(self._host, None, type=socket.SOCK_STREAM)
        except OSError as error:
            self.error = error
        except UnicodeError as error:  # a part of the name is too long, or empty
            self.error = OSError(f"no host has such a name: {error}")
        else:
            self.found = list(dict.fromkeys(str(answer[4][0]) for answer in answers))


def shares(addresses: list[str], seconds: float) -> Iterator[tuple[str, float]]:
    """Yield each address with its share, in seconds, of the remaining part of `seconds`."""
    deadline = time.monotonic() + seconds
    for position, address in enumerate(addresses):
        remaining_seconds = max(deadline - time.monotonic(), 0.0)
        yield address, remaining_seconds / (len(addresses) - position)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _family(address: str) -> str:
    return "IPv6" if ":" in address else "IPv4"
