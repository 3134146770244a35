"""A sandbox whose predictions are done at once, a client for it, and the client's sockets."""

import socket
from collections.abc import Iterator
from typing import Any

import httpcore
import pytest

from imagegen.replicate.client import ReplicateClient
from imagegen.replicate.http import Deadline
from tests.support.replicate_client import client_of
from tests.support.sandbox import Sandbox


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(latency_seconds=0.0) as running:
        yield running


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[ReplicateClient]:
    with client_of(sandbox.url) as client:
        yield client


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
