"""The exporter's server stays up, whatever its clients do."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from http.client import HTTPConnection
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from imagegen.web import server
from imagegen.web.exporter import listen
from tests.support.processes import wait_for

HALF_A_REQUEST = b"GET /healthz HTTP/1.1\r\nHost: here\r\n"
LONG_BYTES = 2**28


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/broken":
        raise LookupError("a defect")
    if environ["PATH_INFO"] == "/long":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return (b"x" * 65536 for _ in range(LONG_BYTES // 65536))
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\n"]


@pytest.fixture
def port() -> Iterator[int]:
    listening = listen("127.0.0.1", 0)
    running = server.Server(listening, app, lambda: None)
    thread = threading.Thread(target=running.serve_forever, args=[0.05])
    thread.start()
    yield listening.getsockname()[1]
    running.shutdown()
    thread.join()
    running.server_close()


def get(port: int, path: str = "/healthz") -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_a_host_of_two_colons_is_reached_over_ipv4_too() -> None:
    with contextlib.closing(listen("::", 0)) as listening:
        port = listening.getsockname()[1]

        socket.create_connection(("127.0.0.1", port), timeout=5).close()


def test_a_host_of_two_colons_works_on_a_kernel_without_ipv6(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)

    with contextlib.closing(listen("::", 0)) as listening:
        assert listening.getsockname()[0] == "0.0.0.0"


@pytest.mark.parametrize("sent", [b"", b"GET", HALF_A_REQUEST])
def test_many_clients_that_send_no_request_keep_no_probe_out(port: int, sent: bytes) -> None:
    threads = threading.active_count()
    with contextlib.ExitStack() as slow:
        for _ in range(3 * server.MOST_CONNECTIONS):
            client = slow.enter_context(socket.create_connection(("127.0.0.1", port)))
            client.sendall(sent)

        assert [get(port) for _ in range(10)] == [(200, b"ok\n")] * 10
        wait_for(
            "few threads", lambda: threading.active_count() <= threads + server.MOST_CONNECTIONS + 1
        )


def test_many_clients_that_read_no_response_keep_no_probe_out(port: int) -> None:
    with contextlib.ExitStack() as slow:
        for _ in range(2 * server.MOST_CONNECTIONS):
            client = slow.enter_context(socket.create_connection(("127.0.0.1", port)))
            client.sendall(b"GET /long HTTP/1.0\r\n\r\n")

        assert get(port) == (200, b"ok\n")


@pytest.mark.parametrize(
    ("limit", "sent"),
    [("READ_SECONDS", HALF_A_REQUEST), ("WHOLE_SECONDS", b"GET /long HTTP/1.0\r\n\r\n")],
)
def test_a_connection_ends_after_its_time(
    port: int, monkeypatch: pytest.MonkeyPatch, limit: str, sent: bytes
) -> None:
    monkeypatch.setattr(server, limit, 0.1)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(sent)

        assert received(client) < LONG_BYTES


def received(client: socket.socket) -> int:
    """How many bytes a client that reads slowly gets until the connection ends."""
    time.sleep(0.2)  # longer than the limit
    found = 0
    with contextlib.suppress(ConnectionError):
        while piece := client.recv(65536):
            found += len(piece)
    return found


def test_a_response_that_fails_is_a_500_and_a_line_of_the_log(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    status, _ = get(port, "/broken")

    assert status == 500
    assert [record.message for record in caplog.records] == ["exporter.request.failed"]
    assert "a defect" in caplog.text
    assert get(port) == (200, b"ok\n")


def test_a_client_that_disconnects_is_not_logged(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET /long HTTP/1.0\r\n\r\n")
        client.recv(1)
    wait_for("the thread's end", lambda: "process_request_thread" not in str(threading.enumerate()))

    assert caplog.records == []
