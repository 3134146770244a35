"""What the kernel does with a request that was given up, and the way through a proxy."""

import contextlib
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import httpcore
import pytest

from imagegen.config.parsers import MOST_SETTLE_SECONDS
from imagegen.errors import CannotStartError
from imagegen.failures import (
    LEAST_SETTLE_SECONDS,
    LISTED_SECONDS,
    SEND_WITHIN,
    UNACKNOWLEDGED_SECONDS,
    longest_settle_seconds,
)
from imagegen.replicate import client as client_module
from imagegen.replicate import facts
from imagegen.replicate.client import ReplicateClient
from imagegen.replicate.http import Deadline
from imagegen.replicate.proxy import https_proxy
from imagegen.replicate.replies import Answered, NoAnswer, NotSent
from imagegen.replicate.tls import tls_context
from tests.support.connect_proxy import ConnectProxy
from tests.support.replicate_client import ask, client_of
from tests.support.sandbox import Fault, Sandbox
from tests.support.stuck_server import StuckServer, arrives_whole
from tests.support.tls_front import TlsFront

# More than the server's kernel takes, and less than fits into the client's.
LONG_PROMPT = "a cat " * 10_000


def test_a_request_that_was_given_up_never_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "ANSWER_SECONDS", 0.3)
    with StuckServer() as server:
        with client_of(server.url) as client:
            assert isinstance(ask(client, LONG_PROMPT), NoAnswer)

        with server.accept() as connection:
            assert not arrives_whole(connection)


def test_the_least_settle_time_leaves_room_for_the_kernel_and_the_list() -> None:
    written = LEAST_SETTLE_SECONDS * SEND_WITHIN

    assert written + UNACKNOWLEDGED_SECONDS + LISTED_SECONDS <= LEAST_SETTLE_SECONDS == 60.0


def test_a_list_may_lag_by_three_minutes_and_is_believed_before_inputs_are_deleted() -> None:
    arrived_seconds = LEAST_SETTLE_SECONDS - LISTED_SECONDS

    assert arrived_seconds + 180.0 < longest_settle_seconds(LEAST_SETTLE_SECONDS) == 300.0
    assert longest_settle_seconds(MOST_SETTLE_SECONDS) < facts.RETENTION_SECONDS


def is_discarded_by_the_kernel(connected: socket.socket) -> bool:
    linger = connected.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)
    timeout = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    return linger == struct.pack("ii", 1, 0) and timeout == UNACKNOWLEDGED_SECONDS * 1000


def test_each_connection_ends_with_its_socket(
    client: ReplicateClient, sockets: list[socket.socket]
) -> None:
    assert isinstance(ask(client), Answered)

    (connected,) = sockets
    with connected:
        assert is_discarded_by_the_kernel(connected)


# Through a proxy.


@pytest.fixture
def front(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TlsFront]:
    """TLS before the sandbox; the client trusts it, and asks a proxy for it."""
    with TlsFront(sandbox.port, tmp_path) as front:
        monkeypatch.setenv("SSL_CERT_FILE", str(front.certificate))
        monkeypatch.setenv("no_proxy", "")
        yield front


@contextlib.contextmanager
def through(
    proxy: ConnectProxy, front: TlsFront, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ReplicateClient]:
    monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//user:pass-word@"))
    with proxy, client_of(front.settings["REPLICATE_BASE_URL"]) as client:
        yield client


def test_a_proxy_is_used_and_its_connections_end_with_their_sockets(
    front: TlsFront, monkeypatch: pytest.MonkeyPatch, sockets: list[socket.socket]
) -> None:
    proxy = ConnectProxy(front.port)
    with through(proxy, front, monkeypatch) as client:
        assert isinstance(ask(client), Answered)
        assert isinstance(ask(client), Answered)

    (connected,) = sockets
    with connected:
        assert is_discarded_by_the_kernel(connected)
    (request,) = proxy.requests
    assert request.startswith(f"CONNECT 127.0.0.1:{front.port} ")
    assert "Basic dXNlcjpwYXNzLXdvcmQ=" in request


def test_a_proxy_may_speak_tls_itself(
    front: TlsFront, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = ConnectProxy(front.port)
    with TlsFront(proxy.port, tmp_path, authority=front.authority) as secured, proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"https://127.0.0.1:{secured.port}")
        with client_of(front.settings["REPLICATE_BASE_URL"]) as client:
            assert isinstance(ask(client), Answered)

    assert len(proxy.requests) == 1


def test_hosts_of_no_proxy_are_reached_without_it(
    front: TlsFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "example.com, 127.0.0.1")
    proxy = ConnectProxy(front.port)
    with through(proxy, front, monkeypatch) as client:
        assert isinstance(ask(client), Answered)

    assert proxy.requests == []


@pytest.mark.parametrize(
    "answer",
    [None, b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", b"HTTP/1.1 502 Bad\r\n\r\n"],
)
def test_nothing_is_sent_while_there_is_no_tunnel(
    front: TlsFront, monkeypatch: pytest.MonkeyPatch, answer: bytes | None
) -> None:
    with through(ConnectProxy(front.port, answer), front, monkeypatch) as client:
        reply = ask(client)

    assert isinstance(reply, NotSent), reply


def test_nothing_is_sent_while_there_is_no_tls_in_the_tunnel(
    front: TlsFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    front.distrust()
    with through(ConnectProxy(front.port), front, monkeypatch) as client:
        reply = ask(client)

    assert isinstance(reply, NotSent), reply


def test_a_request_through_a_tunnel_that_ends_may_have_arrived(
    sandbox: Sandbox, front: TlsFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.faults.add(Fault.resets(creates=True))
    with through(ConnectProxy(front.port), front, monkeypatch) as client:
        reply = ask(client)

    assert isinstance(reply, NoAnswer), reply
    assert len(sandbox.predictions) == 1


def test_connecting_to_a_proxy_is_retried_as_often_as_without(
    front: TlsFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    def refused(*_: object, **__: object) -> httpcore.NetworkStream:
        nonlocal tries
        tries += 1
        raise httpcore.ConnectError("refused")

    monkeypatch.setattr(Deadline, "connect_tcp", refused)
    monkeypatch.setattr(Deadline, "sleep", lambda *_: None)
    with through(ConnectProxy(front.port), front, monkeypatch) as client:
        assert isinstance(ask(client), NotSent)

    assert tries == 1 + client_module.CONNECT_RETRIES


@pytest.mark.parametrize(
    ("address", "used"),
    [("http://proxy:3128", "http://proxy:3128"), ("proxy:3128", "http://proxy:3128")],
)
def test_a_proxy_may_be_named_without_a_scheme(
    monkeypatch: pytest.MonkeyPatch, address: str, used: str
) -> None:
    monkeypatch.setenv("https_proxy", address)

    proxy = https_proxy()

    assert proxy is not None
    assert str(proxy.url) == used


@pytest.mark.parametrize(
    "address", ["socks5://proxy:1080", "ftp://proxy", "http://", "http://user:secret@[::1"]
)
def test_a_proxy_that_cannot_be_used_prevents_a_start(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", address)

    with pytest.raises(CannotStartError, match="HTTPS_PROXY names no proxy") as error:
        Deadline().transport(tls_context())

    assert "secret" not in str(error.value)
