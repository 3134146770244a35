"""A request that was given up does not arrive later, whether a process, its kernel or a cut held
it up."""

import contextlib
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagegen.failures import UNACKNOWLEDGED_SECONDS
from imagegen.replicate import client as client_module
from imagegen.replicate.replies import Answered, NoAnswer
from tests.drills.namespaces import SERVER, Network, obstacle
from tests.support.canned_server import whole_request, with_body
from tests.support.processes import Program, Site, wait_for
from tests.support.proxy import Proxy
from tests.support.replicate_client import ask, client_of
from tests.support.sandbox import Sandbox
from tests.support.stuck_server import StuckServer, arrives_whole

# More than the server's kernel takes, and less than fits into the worker's.
LONG_INPUT = '{"padding": "%s"}' % ("x" * 60_000)
MOST_BYTES = 10_000
# A busy machine may be late.
GIVEN_UP_SECONDS = UNACKNOWLEDGED_SECONDS + 20.0
# The kernel sends both requests again at the same times; more for a busy machine.
NEVER_SECONDS = 1.0


@contextlib.contextmanager
def a_request_in_the_kernel(site: Site) -> Iterator[tuple[Program, socket.socket]]:
    """A worker whose POST has left, as far as it knows, and the server's end of its connection."""
    with StuckServer() as server, contextlib.ExitStack() as stack:
        site.provider_url = server.url
        site.settings |= {"IMAGEGEN_MODEL_INPUT": LONG_INPUT, "IMAGEGEN_WATCHDOG_SECONDS": "600"}
        site.mint("a cat")
        with site.supervisor(procs=1) as program:
            with server.accept() as before:
                assert whole_request(before).startswith("GET /v1/account")
                before.sendall(with_body(b"", 404))
            stack.enter_context(connection := server.accept())
            # Its body too, which is written after its head, and at once.
            wait_for("a body", lambda: b"padding" in connection.recv(MOST_BYTES, socket.MSG_PEEK))
            yield program, connection


def test_a_killed_worker_leaves_no_request_in_the_kernel(site: Site) -> None:
    with a_request_in_the_kernel(site) as (program, connection):
        port = connection.getpeername()[1]
        program.kill(program.worker_pids()["worker-0"])
        wait_for("its sockets to be closed", lambda: not is_open(port))

        assert not arrives_whole(connection)


def test_the_kernel_gives_up_the_request_of_a_worker_that_stands_still(site: Site) -> None:
    with a_request_in_the_kernel(site) as (program, connection):
        port = connection.getpeername()[1]
        program.kill(program.worker_pids()["worker-0"], signal.SIGSTOP)
        wait_for("the kernel to give up", lambda: not is_open(port), GIVEN_UP_SECONDS)

        assert not arrives_whole(connection)


def is_open(port: int) -> bool:
    """Return whether a TCP socket of this host has this port of its own."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(line.split()[1].endswith(f":{port:04X}") for line in lines)


@pytest.mark.skipif(obstacle() is not None, reason=f"no network to cut: {obstacle()}")
def test_a_request_that_was_given_up_in_a_cut_does_not_arrive_after_it(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "ANSWER_SECONDS", 0.5)
    with Network() as network:
        with network.inside("server"):
            server = Proxy(sandbox.port, host=SERVER)
        url = f"http://{SERVER}:{server.port}"
        with server, network.inside("client"), client_of(url) as client:
            assert isinstance(ask(client, "before"), Answered)
            other = socket.create_connection((SERVER, server.port))
            with network.cut():
                with other:
                    other.sendall(b"GET /other HTTP/1.1\r\n\r\n")
                assert isinstance(ask(client, "meanwhile"), NoAnswer)
            # An ordinary socket is closed too, and its kernel delivers what it held.
            wait_for("the other request", lambda: "/other" in paths(sandbox))
            time.sleep(NEVER_SECONDS)
            assert isinstance(ask(client, "after"), Answered)

    assert [each.prompt for each in sandbox.ledger.creates()] == ["before", "after"]


def paths(sandbox: Sandbox) -> list[str]:
    return [each.path for each in sandbox.ledger]
