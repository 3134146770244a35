"""Creates and looks over kept connections: what is read, what is left to httpx, what is reused."""

import gzip
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import httpcore
import httpx
import pytest

from imagegen.replicate import client as client_module
from imagegen.replicate import http as http_module
from imagegen.replicate.client import ReplicateClient
from imagegen.replicate.exchange import Answer, SentRequest, read_answer
from imagegen.replicate.http import Deadline
from imagegen.replicate.replies import NotSent, Rejected
from tests.support.canned_server import canned
from tests.support.processes import wait_for
from tests.support.replicate_client import AN_ID, ask, client_of, made
from tests.support.sandbox import Sandbox
from tests.support.tls_front import TlsFront

BODY = b'{"id": "%b", "status": "succeeded"}' % AN_ID.encode()
LENGTH = b"content-length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
HALF = len(BODY) // 2
CHUNKS = [b"%x\r\n%b\r\n" % (len(part), part) for part in (BODY[:HALF], BODY[HALF:])]


def answer(fields: bytes, body: bytes, status: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return status + b"\r\ncontent-type: application/json\r\n" + fields + b"\r\n" + body


PLAIN = {
    "with a length": answer(LENGTH, BODY),
    "with a length and keep-alive": answer(b"Connection: Keep-Alive\r\n" + LENGTH, BODY),
    "with a cookie twice": answer(b"set-cookie: a=1\r\nset-cookie: b=2\r\n" + LENGTH, BODY),
    "without a reason": answer(LENGTH, BODY, b"HTTP/1.1 201"),
    "in chunks": answer(CHUNKED, b"".join(CHUNKS) + b"0\r\n\r\n"),
}
ZIPPED = gzip.compress(BODY)
ODD = {
    "after a hint": b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + answer(LENGTH, BODY),
    "after a continue": b"HTTP/1.1 100 Continue\r\n\r\n" + answer(LENGTH, BODY),
    "of HTTP/1.0": answer(LENGTH, BODY, b"HTTP/1.0 200 OK"),
    "compressed": answer(b"content-encoding: gzip\r\ncontent-length: %d\r\n" % len(ZIPPED), ZIPPED),
    "with chunks that say more": answer(
        CHUNKED, b"%x;a=b\r\n%b\r\n0;c\r\n\r\n" % (len(BODY), BODY)
    ),
    "with a trailer": answer(CHUNKED, b"".join(CHUNKS) + b"0\r\nx-sum: 7\r\n\r\n"),
    "with a length twice": answer(LENGTH + LENGTH, BODY),
    "with a line over two": answer(b"x-long: a\r\n  b\r\n" + LENGTH, BODY),
    "with a rest": answer(LENGTH, BODY + b"HTTP/1.1 500 Not asked for"),
}
LAST = {
    "that is the last": answer(b"connection: close\r\n" + LENGTH, BODY),
    "that contradicts itself": answer(
        b"connection: close\r\nconnection: keep-alive\r\n" + LENGTH, BODY
    ),
}


@pytest.mark.parametrize("name", [*PLAIN, *ODD, *LAST])
def test_an_answer_is_read_whatever_its_form_and_its_connection_reused_if_that_is_safe(
    name: str,
) -> None:
    form = (PLAIN | ODD | LAST)[name]
    with canned(form, stays_open=True) as server, client_of(server.url) as client:
        assert [made(ask(client)).id, made(client.get(AN_ID)).id] == [AN_ID, AN_ID]

    assert len(server.requests) == 2
    assert server.connections == (1 if name in PLAIN else 2)


def test_an_answer_that_ends_with_its_connection_is_read() -> None:
    with canned(answer(b"", BODY)) as server, client_of(server.url) as client:
        assert made(client.get(AN_ID)).id == AN_ID


def test_creates_and_looks_do_without_httpx(
    client: ReplicateClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def send(*_: object, **__: object) -> httpx.Response:
        raise AssertionError("sent by httpx")

    monkeypatch.setattr(client._http, "send", send)

    made(client.get(made(ask(client)).id))


def test_all_requests_have_the_headers_of_the_sdk() -> None:
    with canned(PLAIN["with a length"]) as server, client_of(server.url) as client:
        client.get(AN_ID)
        client.cancel(AN_ID)

    look, cancel = (headers_of(request) for request in server.requests)
    assert look.pop("accept-encoding") == "identity"
    assert cancel.pop("accept-encoding")
    assert cancel.pop("content-length") == "0"  # a POST
    assert look == cancel
    assert look["user-agent"].startswith("replicate-python/")


def headers_of(request: str) -> dict[str, str]:
    lines = request.partition("\r\n\r\n")[0].split("\r\n")[1:]
    return {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}


def test_an_id_that_no_url_can_have_is_quoted() -> None:
    with canned(PLAIN["with a length"]) as server, client_of(server.url) as client:
        client.get("a b?c")

    assert server.requests[0].startswith("GET /v1/predictions/a%20b?c HTTP/1.1\r\n")


# Connections.


def test_a_connection_that_the_server_closed_is_not_used_again(
    sockets: list[socket.socket],
) -> None:
    with canned(PLAIN["with a length"]) as server, client_of(server.url) as client:
        made(ask(client))
        [connected] = sockets
        wait_for("its end", lambda: select.select([connected], [], [], 0)[0])

        made(ask(client))

    close_all(sockets)


def test_a_connection_that_was_idle_for_too_long_is_not_used_again(
    sandbox: Sandbox, sockets: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_module, "KEEPALIVE_SECONDS", 0.0)
    with client_of(sandbox.url) as client:
        made(ask(client))
        made(ask(client))

    assert len(sockets) == 2
    close_all(sockets)


def test_connecting_is_retried_and_nothing_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = 0

    def refused(*_: object, **__: object) -> httpcore.NetworkStream:
        nonlocal tries
        tries += 1
        raise httpcore.ConnectError("refused")

    monkeypatch.setattr(Deadline, "connect_tcp", refused)
    monkeypatch.setattr(Deadline, "sleep", lambda *_: None)
    with client_of("https://api.example") as client:
        assert ask(client) == NotSent("ConnectError: refused")

    assert tries == 1 + client_module.CONNECT_RETRIES


def test_connections_with_tls_are_used_again_and_trust_only_whom_they_may(
    sandbox: Sandbox, sockets: list[socket.socket], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TlsFront(sandbox.port, tmp_path) as front:
        monkeypatch.setenv("SSL_CERT_FILE", str(front.certificate))
        url = front.settings["REPLICATE_BASE_URL"]
        with client_of(url) as client:
            made(client.get(made(ask(client)).id))
        assert len(sockets) == 1

        front.distrust()
        with client_of(url) as client:
            reply = ask(client)

    assert isinstance(reply, NotSent)
    assert "certificate verify failed" in reply.why
    close_all(sockets)


def close_all(sockets: list[socket.socket]) -> None:
    for each in sockets:
        each.close()


# Bytes.


class Parts(httpcore.NetworkStream):
    """Gives an answer in these parts, and then ends."""

    def __init__(self, *parts: bytes) -> None:
        self._parts = [*parts, b"", b""]

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._parts.pop(0)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        raise httpcore.WriteError("the server reads no more")


def read(*parts: bytes, limit_bytes: int = 10_000) -> Answer | None:
    return read_answer(SentRequest(Parts(*parts), httpx.Timeout(1.0)), limit_bytes)


def splits(whole: bytes) -> Iterator[tuple[bytes, bytes]]:
    return ((whole[:at], whole[at:]) for at in range(whole.index(b"\r\n\r\n") + 4, len(whole)))


@pytest.mark.parametrize("name", ["with a length", "in chunks"])
def test_a_body_may_come_in_any_parts(name: str) -> None:
    bodies = {getattr(read(*parts), "body", None) for parts in splits(PLAIN[name])}

    assert bodies == {BODY}


@pytest.mark.parametrize("name", ["with a length", "in chunks"])
def test_a_body_that_is_cut_short_is_no_plain_answer(name: str) -> None:
    assert {read(part) for part, _ in splits(PLAIN[name])} == {None}


@pytest.mark.parametrize(
    "parts",
    [
        (answer(b"content-length: 20000\r\n", b"x"), b"x" * 19_999),
        (answer(CHUNKED, b"fffff\r\nx"), b"x" * 20_000),
        (answer(CHUNKED, b"0" * 30),),
        (answer(CHUNKED, b"zz\r\n"),),
        (answer(CHUNKED, b"1\r\nxx\r\n0\r\n\r\n"),),
        (answer(b"content-length: -1\r\n", BODY),),
        (answer(LENGTH + CHUNKED, BODY),),
        (answer(b"no field\r\n" + LENGTH, BODY),),
        (answer(b"a: \0\r\n" + LENGTH, BODY),),
        (answer(LENGTH, BODY, b"HTTP/1.1 204 No Content"),),
        (answer(LENGTH, BODY, b"HTTP/1.1 307 Temporary Redirect"),),
        (answer(LENGTH, BODY, b"HTTP/2 200 OK"),),
    ],
)
def test_what_is_not_plain_or_too_long_is_left_to_httpx(parts: tuple[bytes, ...]) -> None:
    sent = SentRequest(Parts(*parts), httpx.Timeout(1.0))

    assert read_answer(sent, 10_000) is None
    received = sent.read(1_000_000)
    assert received and received == b"".join(parts)[: len(received)]


def test_a_refusal_before_the_whole_request_was_read_counts() -> None:
    refusal = answer(LENGTH, BODY, b"HTTP/1.1 413 Too Long")
    sent = SentRequest(Parts(refusal), httpx.Timeout(1.0))
    sent.send(b"POST / HTTP/1.1\r\n\r\n")

    given = read_answer(sent, 10_000)

    assert given is not None
    assert given.status == 413
    assert not sent.is_whole


def test_a_rejection_has_what_its_headers_say() -> None:
    fields = b"Retry-After:  7 \r\nServer: squ\xc3\xafd\r\ncontent-length: 0\r\n"
    with (
        canned(answer(fields, b"", b"HTTP/1.1 429 Slow")) as server,
        client_of(server.url) as client,
    ):
        reply = ask(client)

    assert reply == Rejected(429, retry_after_seconds=7.0, page="from squïd")
