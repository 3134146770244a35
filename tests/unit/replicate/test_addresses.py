"""Which of a host's addresses is tried, and that a name server is not waited for without end."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpcore
import pytest

from imagegen.replicate import addresses
from imagegen.replicate.addresses import Addresses, shares
from imagegen.replicate.http import Deadline
from tests.support.black_hole import black_hole

HOST = "api.example"
FIRST, SECOND, OTHER_FAMILY = "192.0.2.1", "192.0.2.2", "2001:db8::1"
CONNECT_SECONDS = 1.0

Resolve = Callable[..., Any]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The addresses of each host, as the name server has them."""
    found: dict[str, list[str]] = {}
    ask = socket.getaddrinfo

    def resolve(host: str, *arguments: Any, **options: Any) -> Any:
        if host not in found:
            return ask(host, *arguments, **options)
        if not found[host]:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(0, 0, 0, "", (address, 0)) for address in found[host]]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return found


def silence(monkeypatch: pytest.MonkeyPatch, asked: list[Any] | None = None) -> threading.Event:
    """The name server does not answer until the event is set; it notes what it was `asked`."""
    answers, ask = threading.Event(), socket.getaddrinfo
    questions = [] if asked is None else asked

    def resolve(*arguments: Any, **options: Any) -> Any:
        questions.append(arguments)
        assert answers.wait(30)
        return ask(*arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return answers


def test_addresses_that_have_not_failed_keep_their_order(names: dict[str, list[str]]) -> None:
    names[HOST] = [OTHER_FAMILY, FIRST, SECOND, FIRST]

    assert Addresses().of(HOST, 1.0) == [OTHER_FAMILY, FIRST, SECOND]


def test_an_address_that_failed_is_tried_last_until_it_works(names: dict[str, list[str]]) -> None:
    names[HOST] = [FIRST, SECOND]
    found = Addresses()
    found.note_failure(FIRST)
    found.note_success(SECOND)
    assert found.of(HOST, 1.0) == [SECOND, FIRST]

    found.note_success(FIRST)
    assert found.of(HOST, 1.0) == [FIRST, SECOND]


def test_a_new_address_of_a_family_that_failed_is_not_tried_first(
    names: dict[str, list[str]],
) -> None:
    names[HOST] = ["2001:db8::2", FIRST]
    found = Addresses()
    found.note_failure(OTHER_FAMILY)

    assert found.of(HOST, 1.0) == [FIRST, "2001:db8::2"]


def test_a_name_server_that_does_not_answer_is_waited_for_no_longer_than_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = silence(monkeypatch)
    began = time.monotonic()
    with pytest.raises(httpcore.ConnectTimeout, match="no address of api"):
        Deadline().connect_tcp(HOST, 443, timeout=0.1)
    answers.set()

    assert time.monotonic() - began < 5.0


def test_known_addresses_are_used_while_the_name_server_does_not_answer(
    names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "KNOWN_SECONDS", 0.1)
    names[HOST] = [FIRST]
    found = Addresses()
    found.of(HOST, 1.0)
    asked: list[Any] = []
    answers = silence(monkeypatch, asked)

    assert [found.of(HOST, 5.0) for _ in range(3)] == [[FIRST]] * 3
    assert len(asked) == 1  # one question for all
    answers.set()


@pytest.mark.parametrize("host", [HOST, "x" * 64, ""])
def test_a_name_that_does_not_exist_is_an_error_of_connecting(
    host: str, names: dict[str, list[str]]
) -> None:
    names[HOST] = []
    with pytest.raises(httpcore.ConnectError):
        Deadline().connect_tcp(host, 443, timeout=1.0)


def test_all_addresses_share_the_time_to_connect() -> None:
    tried = dict(shares([FIRST, SECOND], 1.0))

    assert tried[FIRST] == pytest.approx(0.5, abs=0.1)
    assert tried[SECOND] == pytest.approx(1.0, abs=0.1)  # the first one failed at once


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("dead", ["::1", "127.0.0.66"])
def test_a_dead_address_costs_time_once_and_not_for_every_connection(
    dead: str, port: int, names: dict[str, list[str]]
) -> None:
    names[HOST] = [dead, "127.0.0.1"]
    deadline = Deadline()

    def seconds_to_connect() -> float:
        began = time.monotonic()
        with contextlib.closing(deadline.connect_tcp(HOST, port, timeout=CONNECT_SECONDS)):
            return time.monotonic() - began

    with black_hole(dead, port):
        assert seconds_to_connect() >= CONNECT_SECONDS / 2
        for _ in range(3):
            assert seconds_to_connect() < CONNECT_SECONDS / 4
