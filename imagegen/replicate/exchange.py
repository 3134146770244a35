"""HTTP/1.1 over kept connections, for creates and polls: the requests that a worker sends most.

httpx and httpcore take several times the CPU for the same bytes. They still send every other
request, and read every answer that is not plain: a redirect, one without a body, one that is
compressed, cut short or no HTTP/1.1. They read such an answer from its first byte (`SentRequest`).
"""

import contextlib
import re
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import h11
import httpcore
import httpx

from imagegen.replicate.proxy import https_proxy, is_proxied

# What the network raises. httpx has classes of its own for the same, with the same names.
NETWORK_ERRORS = (httpcore.NetworkError, httpcore.TimeoutException)
READ_BYTES = 64 * 1024
# Paths whose parts need no quoting, and do not start with a dot.
_PLAIN_PATH = re.compile(r"(?:/[\w-][\w.~-]*)+", re.ASCII)
# RFC 9112, without its obsolete syntax. Answers with these statuses have a body; none redirects.
_TEXT = rb"[^\0-\x08\n-\x1f\x7f]*\r\n"
_HEAD = re.compile(
    rb"HTTP/1\.1 (20[0-3]|[45]\d\d)(?: " + _TEXT + rb"|\r\n)"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:" + _TEXT + rb")*)\r\n"
)
# The fields that say where an answer ends, and how its body is to be read.
_FRAMING = {"content-length", "content-encoding", "transfer-encoding"}
_LENGTH = re.compile(r"\d{1,15}", re.ASCII)
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,12})\r\n")
LONGEST_SIZE_BYTES = 14


@dataclass(frozen=True)
class Answer:
    """A plain answer to a request."""

    status: int
    headers: Mapping[str, str]  # their names in small letters
    body: bytes
    is_last: bool  # of its connection


class SentRequest(httpcore.NetworkStream):
    """A connection on which a request was sent, with what was received of its answer.

    httpcore can read the answer: the request that it sends before is not written again.
    """

    def __init__(self, stream: httpcore.NetworkStream, timeout: httpx.Timeout) -> None:
        self.stream = stream
        self.received = bytearray()
        self.is_whole = False
        self._timeout = timeout

    def send(self, request: bytes) -> None:
        # A server that refuses a request may answer and close before it has all of it.
        with contextlib.suppress(httpcore.WriteError):
            self.stream.write(request, self._timeout.write)
            self.is_whole = True

    def receive(self) -> bool:
        """Wait for more of the answer. Return False at the end of the connection."""
        data = self.stream.read(READ_BYTES, self._timeout.read)
        self.received += data
        return bool(data)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if not self.received:
            return self.stream.read(max_bytes, timeout)
        data = bytes(self.received[:max_bytes])
        del self.received[:max_bytes]
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write nothing: the request was sent."""

    def close(self) -> None:
        self.stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)


class Pool(httpcore.ConnectionPool):
    """httpcore's pool, which also reads the answer to a request that was sent elsewhere."""

    def handle_request(self, request: httpcore.Request) -> httpcore.Response:
        sent: SentRequest | None = request.extensions.get("sent")
        if sent is None:
            return super().handle_request(request)
        # Not sent, as the request was sent already. It makes httpcore close the connection.
        request.headers.append((b"Connection", b"close"))
        return httpcore.HTTP11Connection(request.url.origin, sent).handle_request(request)


class KeptConnections:
    """Connections to the host of a client of httpx, with that client's headers and timeouts."""

    def __init__(self, client: httpx.Client, pool: Pool, keepalive_seconds: float) -> None:
        """`pool` connects."""
        request = client.build_request("GET", "/", headers={"Accept-Encoding": "identity"})
        url = request.url
        self._is_usable = _can_be_sent(request) and not (https_proxy() and is_proxied(url))
        self._url = httpcore.URL(
            scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=b"/"
        )
        self._prefix = url.raw_path.removesuffix(b"/")
        self._headers = b"".join(b"%b: %b\r\n" % pair for pair in request.headers.raw)
        self._timeout = client.timeout
        self._pool = pool
        self._keepalive_seconds = keepalive_seconds
        self._lock = threading.Lock()
        # With the monotonic time of their last use, the latest last.
        self._idle: deque[tuple[float, httpcore.NetworkStream]] = deque()

    def exchange(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        content: bytes | None,
        limit_bytes: int,
    ) -> Answer | SentRequest | None:
        """Send a request once, and return its answer if it is plain and within `limit_bytes`.

        Returns a SentRequest if httpx is to read the answer: pass it on as the extension `sent` of
        the same request. Returns None if nothing was sent and httpx is to send the request, because
        it goes through a proxy, or its path or a header is not plain. Raises NETWORK_ERRORS, and
        SendByPassedError.
        """
        if not self._is_usable or not _PLAIN_PATH.fullmatch(path):
            return None
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        if content is not None:
            lines += f"Content-Length: {len(content)}\r\n"
        request = b"%b %b%b HTTP/1.1\r\n%b%b\r\n%b" % (
            *(method.encode(), self._prefix, path.encode()),
            *(self._headers, lines.encode(), content or b""),
        )
        sent = SentRequest(self._take() or self._connect(), self._timeout)
        try:
            sent.send(request)
            answer = read_answer(sent, limit_bytes)
        except BaseException:
            sent.close()
            raise
        if answer is None:
            return sent
        if answer.is_last or not sent.is_whole:
            sent.close()
        else:
            with self._lock:
                self._idle.append((time.monotonic(), sent.stream))
        return answer

    def close(self) -> None:
        with self._lock:
            while self._idle:
                self._idle.pop()[1].close()

    def _take(self) -> httpcore.NetworkStream | None:
        """Return the connection that was used last, if the server has not closed it."""
        with self._lock:
            oldest = time.monotonic() - self._keepalive_seconds
            while self._idle and self._idle[0][0] < oldest:
                self._idle.popleft()[1].close()
            while self._idle:
                _, stream = self._idle.pop()
                if not stream.get_extra_info("is_readable"):
                    return stream
                stream.close()
        return None

    def _connect(self) -> httpcore.NetworkStream:
        connection = self._pool.create_connection(self._url.origin)
        timeout = {"timeout": self._timeout.as_dict()}
        request = httpcore.Request("GET", self._url, extensions=timeout)
        # As httpcore does for itself: with its retries, and with TLS.
        stream: httpcore.NetworkStream = connection._connect(request)  # type: ignore[attr-defined]
        return stream


def _can_be_sent(request: httpx.Request) -> bool:
    """Return whether the headers keep the rules that httpcore checks in each request."""
    try:
        h11.Request(method=b"GET", target=b"/", headers=request.headers.raw)
    except h11.LocalProtocolError:
        return False
    return True


def read_answer(sent: SentRequest, limit_bytes: int) -> Answer | None:
    """Return the answer, or None if it is not plain or longer than `limit_bytes`."""
    sent.receive()
    if not (head := _HEAD.match(sent.received)):
        return None
    lines = head[2].decode(errors="replace").split("\r\n")[:-1]
    fields = [line.partition(":") for line in lines]
    headers = [(name.lower(), value.strip(" \t")) for name, _, value in fields]
    match [header for header in headers if header[0] in _FRAMING]:
        case [("content-length", length)] if _LENGTH.fullmatch(length):
            body = _body(sent, head.end(), int(length), limit_bytes)
        case [("transfer-encoding", coding)] if coding.lower() == "chunked":
            body = _chunks(sent, head.end(), limit_bytes)
        case _:
            body = None
    if body is None:
        return None
    options = [value.lower() for name, value in headers if name == "connection"]
    return Answer(int(head[1]), dict(headers), body, is_last=options not in ([], ["keep-alive"]))


def _body(sent: SentRequest, start: int, length: int, limit_bytes: int) -> bytes | None:
    """Return the body from `start` on, if it has that length and nothing follows it."""
    end = start + length
    if not _receive(sent, end, limit_bytes) or len(sent.received) > end:
        return None
    return bytes(sent.received[start:])


def _chunks(sent: SentRequest, at: int, limit_bytes: int) -> bytes | None:
    """Return the body from `at` on, which comes in chunks. None if it has extensions or trailers,
    or if something follows it."""
    body = bytearray()
    while True:
        while not (size := _CHUNK.match(sent.received, at)):
            line = sent.received[at : at + LONGEST_SIZE_BYTES]
            if b"\n" in line or len(line) == LONGEST_SIZE_BYTES or not sent.receive():
                return None
        start, length = size.end(), int(size[1], 16)
        at = start + length + len(b"\r\n")
        if not _receive(sent, at, limit_bytes) or sent.received[at - 2 : at] != b"\r\n":
            return None
        if not length:
            return bytes(body) if len(sent.received) == at else None
        body += sent.received[start : start + length]


def _receive(sent: SentRequest, end: int, limit_bytes: int) -> bool:
    """Receive the first `end` bytes of an answer. Return whether they came: False if it ends before
    or is too long."""
    if end > limit_bytes:
        return False
    while len(sent.received) < end:
        if not sent.receive():
            return False
    return True
