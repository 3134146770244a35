"""A deadline for a whole answer, and one by which a request must be sent.

The timeouts of httpcore start again with each chunk: a server that sends a byte now and then would
hold its client for ever. A request that was held up for too long must not be sent any more, neither
by this program nor by the kernel.
"""

import math
import socket
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from ssl import SSLContext
from typing import Any

import httpcore
import httpx

from imagegen.failures import UNACKNOWLEDGED_SECONDS
from imagegen.replicate.addresses import Addresses, shares
from imagegen.replicate.exchange import KeptConnections, Pool
from imagegen.replicate.proxy import ByHost, ProxyPool, https_proxy

# For a client without a limit of its own.
CONNECT_SECONDS = 5.0
# A connection that has been idle for longer may be dead behind a firewall. This is httpx's default;
# httpcore has none.
KEEPALIVE_SECONDS = 5.0
# When a socket is closed, also because its process was killed, the kernel discards the data that it
# has not sent. Without this it goes on to send them, for a hundred seconds or more.
SOCKET_OPTIONS: list[tuple[int, int, bytes | int]] = [
    (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
]
# The same for a process that is stopped and closes nothing. Only Linux has it.
if hasattr(socket, "TCP_USER_TIMEOUT"):
    milliseconds = int(UNACKNOWLEDGED_SECONDS * 1000)
    SOCKET_OPTIONS.append((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds))


def boottime() -> float:
    """Return the seconds of a clock that goes on while the host is suspended, if there is one."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class SendByPassedError(Exception):
    """The request was not written to its end in time: it was not sent."""


class Deadline(httpcore.NetworkBackend):
    """httpcore's own network, with a deadline for all that one thread reads and writes."""

    def __init__(self) -> None:
        self._network = httpcore.SyncBackend()
        self._addresses = Addresses()
        self._of_thread = threading.local()

    def transport(self, ssl_context: SSLContext, *, retries: int = 0) -> httpx.BaseTransport:
        """Return a transport whose requests keep to the deadline. A connection that fails is tried
        again `retries` times. Raises CannotStartError if HTTPS_PROXY names no proxy."""
        options = self._pool_options(ssl_context, retries)
        direct = httpx.HTTPTransport(verify=ssl_context)
        direct._pool = Pool(**options)
        if (proxy := https_proxy()) is None:
            return direct
        proxied = httpx.HTTPTransport(verify=ssl_context)
        proxied._pool = ProxyPool(
            proxy_url=str(proxy.url),
            proxy_auth=proxy.raw_auth,
            proxy_ssl_context=ssl_context if proxy.url.scheme == "https" else None,
            **options,
        )
        return ByHost(direct, proxied)

    def kept_connections(
        self, client: httpx.Client, ssl_context: SSLContext, *, retries: int
    ) -> KeptConnections:
        """Return connections for requests of `client`, which keep to the deadline."""
        pool = Pool(**self._pool_options(ssl_context, retries))
        return KeptConnections(client, pool, KEEPALIVE_SECONDS)

    def _pool_options(self, ssl_context: SSLContext, retries: int) -> dict[str, Any]:
        return {
            "ssl_context": ssl_context,
            "retries": retries,
            "network_backend": self,
            "max_connections": None,  # as many as there are threads
            "keepalive_expiry": KEEPALIVE_SECONDS,
        }

    def start(self, seconds: float, *, send_by: float = math.inf) -> None:
        """Set the calling thread's deadline to `seconds` from now. Its request raises
        SendByPassedError if it is not written by `send_by`, a time of `boottime`."""
        self._of_thread.at = time.monotonic() + seconds
        self._of_thread.send_by = send_by
        self._of_thread.has_written = False

    @property
    def has_written(self) -> bool:
        """Return whether the calling thread has written anything of its request."""
        return bool(self._of_thread.has_written)

    def remaining(self, timeout: float | None) -> float:
        """Return the seconds that the calling thread has for one more step; 0 when it has none."""
        seconds: float = max(self._of_thread.at - time.monotonic(), 0.0)
        return seconds if timeout is None else min(seconds, timeout)

    def before_write(self, data: bytes) -> None:
        """Note that a part of the request is about to be written. Raises SendByPassedError."""
        if boottime() > self._of_thread.send_by:
            raise SendByPassedError("the request was held up for too long")
        # A CONNECT asks a proxy for a tunnel, and holds nothing of the request.
        if data and not data.startswith(b"CONNECT "):
            self._of_thread.has_written = True

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to one of a host's addresses. All attempts together take at most `timeout`.

        Raises httpcore.ConnectTimeout or httpcore.ConnectError."""
        # Set here, because httpcore does not pass those of its pools on to a proxy's connections.
        options = [*(socket_options or ()), *SOCKET_OPTIONS]
        began, seconds = time.monotonic(), CONNECT_SECONDS if timeout is None else timeout
        try:
            addresses = self._addresses.of(host, seconds)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(error) from None
        except OSError as error:
            raise httpcore.ConnectError(error) from None
        failure: Exception = httpcore.ConnectTimeout("no time is left to connect")
        for address, share in shares(addresses, began + seconds - time.monotonic()):
            try:
                stream = self._network.connect_tcp(address, port, share, local_address, options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                self._addresses.note_failure(address)
                failure = error
            else:
                self._addresses.note_success(address)
                return _Stream(stream, self)
        raise failure

    def sleep(self, seconds: float) -> None:
        self._network.sleep(seconds)


class TooLongError(Exception):
    """The body of an answer is longer than its limit."""


def read_capped(response: httpx.Response, limit_bytes: int) -> bytes:
    """Return the body of a streamed answer. Raises TooLongError, and httpx's errors of reading."""
    return b"".join(chunks(response, limit_bytes))


def chunks(response: httpx.Response, limit_bytes: int) -> Iterator[bytes]:
    """Yield the body of a streamed answer. Raises TooLongError, and httpx's errors of reading."""
    length = 0
    for chunk in response.iter_bytes():
        length += len(chunk)
        if length > limit_bytes:
            raise TooLongError(f"more than {limit_bytes} bytes")
        yield chunk


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if not (seconds := self._deadline.remaining(timeout)):
            raise httpcore.ReadTimeout("the answer took too long")
        return self._stream.read(max_bytes, seconds)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if not (seconds := self._deadline.remaining(timeout)):
            raise httpcore.WriteTimeout("the request took too long")
        self._deadline.before_write(buffer)
        self._stream.write(buffer, seconds)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        stream = self._stream.start_tls(ssl_context, server_hostname, timeout)
        return _Stream(stream, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
