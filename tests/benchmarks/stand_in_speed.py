"""How fast the stand-in is without imagegen: benchmarks with no latency must not wait for it."""

import json
import socket
import time
from urllib.parse import urlsplit

from imagegen.sandbox import DEFAULT_TOKEN
from tests.benchmarks.stand_in import HEAD_END, StandIn

TOKENS = 3000
CONNECTIONS = 20

CREATE_PATH = "/v1/models/black-forest-labs/flux-schnell/predictions"
BODY = json.dumps({"input": {"prompt": "alone", "seed": 1}})


def tokens_per_second(stand_in: StandIn) -> float:
    """Create predictions and read each of them once, over 20 connections, as fast as it can."""
    stand_in.set_times([0.0])
    connections = [connect(stand_in) for _ in range(CONNECTIONS)]
    began = time.monotonic()
    for _ in range(TOKENS // CONNECTIONS):
        created = ask_all(connections, [request("POST", CREATE_PATH, BODY)] * CONNECTIONS)
        paths = [f"/v1/predictions/{value['id']}" for value in created]
        ended = ask_all(connections, [request("GET", path) for path in paths])
        assert {value["status"] for value in created} == {"starting"}
        assert {value["status"] for value in ended} == {"succeeded"}
    seconds = time.monotonic() - began
    for connection in connections:
        connection.close()
    return TOKENS / seconds


def connect(stand_in: StandIn) -> socket.socket:
    address = urlsplit(stand_in.url)
    return socket.create_connection((address.hostname, address.port))


def request(method: str, path: str, body: str = "") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nauthorization: Bearer {DEFAULT_TOKEN}\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n{body}".encode()


def ask_all(connections: list[socket.socket], requests: list[bytes]) -> list[dict[str, object]]:
    """Send a request over each connection, then read all answers."""
    for connection, data in zip(connections, requests, strict=True):
        connection.sendall(data)
    return [read_answer(connection) for connection in connections]


def read_answer(connection: socket.socket) -> dict[str, object]:
    received = b""
    while HEAD_END not in received:
        received += connection.recv(65536)
    head, _, body = received.partition(HEAD_END)
    length = int(head.lower().partition(b"content-length:")[2].split()[0])
    while len(body) < length:
        body += connection.recv(65536)
    value = json.loads(body)
    assert isinstance(value, dict)
    return value
