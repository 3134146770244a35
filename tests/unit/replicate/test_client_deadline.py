"""An answer has a deadline as a whole: one that drips holds a slot no longer than any other."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Literal

import httpx
import pytest

from imagegen.replicate import client as client_module
from imagegen.replicate.client import ReplicateClient
from imagegen.replicate.http import boottime
from imagegen.replicate.replies import Answered, NoAnswer, NotSent
from tests.support.canned_server import whole_request
from tests.support.replicate_client import MODEL, client_of, since
from tests.support.sandbox import Fault, Sandbox

ANSWER_SECONDS = 0.4
# Far more than the deadline; a byte comes often enough for the read timeout.
DRIP_SECONDS = 4.0
# A busy machine may be late, but not by the rest of the drip.
SURELY_SECONDS = 2.0
HINT = b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n"
HINT_EVERY_SECONDS = 0.05

Request = Callable[[ReplicateClient], object]
REQUESTS: dict[str, Request] = {
    "create": lambda client: client.create(MODEL, {"prompt": "a cat", "seed": 7}),
    "get": lambda client: client.get("heat2o3bzn3ahtr6bjfftvbaci"),
    "list": lambda client: client.list(since(datetime(2026, 1, 1, tzinfo=UTC))).missing,
    "cancel": lambda client: client.cancel("heat2o3bzn3ahtr6bjfftvbaci"),
}


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "TIMEOUT", httpx.Timeout(5.0, read=0.2))
    monkeypatch.setattr(client_module, "ANSWER_SECONDS", ANSWER_SECONDS)
    monkeypatch.setattr(client_module, "PAGE_SECONDS", ANSWER_SECONDS)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("part", ["head", "body"])
@pytest.mark.parametrize("operation", REQUESTS)
def test_an_answer_that_drips_is_given_up_at_its_deadline(
    sandbox: Sandbox, operation: str, part: Literal["head", "body"]
) -> None:
    sandbox.faults.add(Fault.drips(DRIP_SECONDS, part, operation=None, times=1))

    with client_of(sandbox.url) as client:
        began = time.monotonic()
        assert isinstance(REQUESTS[operation](client), NoAnswer)
        assert time.monotonic() - began < SURELY_SECONDS
        assert len(sandbox.ledger) == 1

        # And the next request gets its own answer.
        assert isinstance(REQUESTS["create"](client), Answered)


def test_an_account_that_does_not_answer_holds_no_slot_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_module, "ACCOUNT_SECONDS", ANSWER_SECONDS)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        client_of(f"http://127.0.0.1:{silent.getsockname()[1]}") as client,
        ThreadPoolExecutor(10) as slots,
    ):
        began = time.monotonic()
        accounts = [slots.submit(client.account) for _ in range(10)]

        assert [each.result() for each in accounts] == [None] * 10
        assert time.monotonic() - began < SURELY_SECONDS


def test_what_was_held_up_for_too_long_is_not_sent_any_more(sandbox: Sandbox) -> None:
    with client_of(sandbox.url) as client:
        held_up = client.create(MODEL, {"prompt": "a cat"}, send_by=boottime() - 0.001)

        assert isinstance(held_up, NotSent), held_up
        assert "held up" in held_up.why
        assert len(sandbox.ledger) == 0

        # And the next request is not the late one's rest.
        assert isinstance(REQUESTS["create"](client), Answered)


@pytest.mark.usefixtures("hasty")
def test_hints_without_an_end_are_given_up_at_the_deadline() -> None:
    with hints_without_an_end() as url, client_of(url) as client:
        began = time.monotonic()

        assert isinstance(REQUESTS["create"](client), NoAnswer)
        assert time.monotonic() - began < SURELY_SECONDS


@contextlib.contextmanager
def hints_without_an_end() -> Iterator[str]:
    """A server that announces an answer again and again (HTTP 103), which never comes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=give_hints, args=(listening,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            listening.shutdown(socket.SHUT_RDWR)  # ends an accept that nobody came for
            thread.join()


def give_hints(listening: socket.socket) -> None:
    with contextlib.suppress(OSError):  # nobody came, or who came went away
        connection, _ = listening.accept()
        with connection:
            whole_request(connection)
            end = time.monotonic() + DRIP_SECONDS
            while time.monotonic() < end:
                connection.sendall(HINT)
                time.sleep(HINT_EVERY_SECONDS)
