"""A deadline for a whole answer, over the timeouts of httpcore, which start anew with each chunk:
a server that sends a byte now and then would hold its client for ever. And one for leaving: what
stood still for too long is not sent any more."""

import math
import threading
import time
from collections.abc import Iterable
from ssl import SSLContext
from typing import Any

import httpcore
import httpx

# What has been idle for longer may be dead behind a firewall: httpx's own default, which httpcore
# does not share.
KEEPALIVE_SECONDS = 5.0


class HeldUpError(Exception):
    """The time to leave was over before the request was written to its end: it was not sent."""


class Deadline(httpcore.NetworkBackend):
    """httpcore's own network, but what a thread reads and writes ends by its deadline."""

    def __init__(self) -> None:
        self._network = httpcore.SyncBackend()
        self._of_thread = threading.local()

    def transport(self, ssl_context: SSLContext, *, retries: int = 0) -> httpx.HTTPTransport:
        """A transport whose requests keep to it; connecting is tried `retries` times more."""
        transport = httpx.HTTPTransport(verify=ssl_context)
        transport._pool = httpcore.ConnectionPool(
            ssl_context=ssl_context,
            retries=retries,
            network_backend=self,
            max_connections=None,  # as many as there are threads
            keepalive_expiry=KEEPALIVE_SECONDS,
        )
        return transport

    def start(self, seconds: float, *, leaves_by: float = math.inf) -> None:
        """From now on the calling thread has so long, and writes nothing after `leaves_by`, a
        monotonic time: then its request raises HeldUpError."""
        self._of_thread.at = time.monotonic() + seconds
        self._of_thread.leaves_by = leaves_by
        self._of_thread.has_written = False

    @property
    def has_written(self) -> bool:
        """Whether the calling thread has written anything of its request."""
        return bool(self._of_thread.has_written)

    def left(self, timeout: float | None) -> float:
        """The seconds that the calling thread has for one more step; 0 when its time is over."""
        left: float = max(self._of_thread.at - time.monotonic(), 0.0)
        return left if timeout is None else min(left, timeout)

    def leaves(self) -> None:
        """A part of the request is about to be written. Raises HeldUpError where it is too late."""
        if time.monotonic() > self._of_thread.leaves_by:
            raise HeldUpError("the request was held up for too long")
        self._of_thread.has_written = True

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        options = list(socket_options) if socket_options is not None else None
        stream = self._network.connect_tcp(host, port, timeout, local_address, options)
        return _Stream(stream, self)

    def sleep(self, seconds: float) -> None:
        self._network.sleep(seconds)


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if not (left := self._deadline.left(timeout)):
            raise httpcore.ReadTimeout("the answer took too long")
        return self._stream.read(max_bytes, left)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if not (left := self._deadline.left(timeout)):
            raise httpcore.WriteTimeout("the request took too long")
        self._deadline.leaves()
        self._stream.write(buffer, left)

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
