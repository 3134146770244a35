"""What the kernel does with a request that was given up."""

import socket
import struct
from typing import Any

import httpcore
import pytest

from imagegen.failures import (
    LEAST_SETTLE_SECONDS,
    LISTED_SECONDS,
    SEND_WITHIN,
    UNACKNOWLEDGED_SECONDS,
)
from imagegen.replicate import client as client_module
from imagegen.replicate.client import ReplicateClient
from imagegen.replicate.http import Deadline
from imagegen.replicate.replies import Answered, NoAnswer
from tests.support.replicate_client import ask, client_of
from tests.support.stuck_server import StuckServer, arrives_whole

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


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> list[socket.socket]:
    """The sockets that are connected from now on."""
    connected: list[socket.socket] = []
    connect = Deadline.connect_tcp

    def noted(*arguments: Any, **named: Any) -> httpcore.NetworkStream:
        stream = connect(*arguments, **named)
        connected.append(stream.get_extra_info("socket").dup())
        return stream

    monkeypatch.setattr(Deadline, "connect_tcp", noted)
    return connected


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
