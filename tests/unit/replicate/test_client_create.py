"""One POST whatever happens: what went wrong with a create, and that nothing was sent again."""

import contextlib
import socket
from collections.abc import Iterator

import httpx
import pytest

from imagegen.replicate import client as client_module
from imagegen.replicate.client import ReplicateClient
from imagegen.replicate.replies import NoAnswer, NotSent, Prediction, Rejected
from tests.support.canned_server import canned, with_body
from tests.support.generation_runs import UNLIMITED
from tests.support.replicate_client import AN_ID, ask, client_of, made
from tests.support.sandbox import DEFAULT_TOKEN, Fault, Sandbox

MEGABYTE = 1024 * 1024
FAULTS = {
    "500 and nothing made": Fault.answers(500),
    "500 after the creation": Fault.answers(500, creates=True),
    "502 as a page": Fault.answers(502, creates=True),
    "504 after the creation": Fault.answers(504, creates=True),
    "429": Fault.throttles(retry_after=0),
    "a reset before": Fault.resets(),
    "a reset after": Fault.resets(creates=True),
    "a page with 200": Fault.answers_html(200),
    "a body cut short": Fault.cuts_short(),
    "an answer too late": Fault.late(0.5),
    "no answer": Fault.black_hole(0.5, creates=True),
    "an answer that drips": Fault.drips(2.0),
    "a redirect": Fault.answers(307, "", headers={"location": "/v1/predictions"}),
    "50 MB": Fault.answers(201, "x" * 50 * MEGABYTE, creates=True),
    "nesting without an end": Fault.answers(201, "[" * 200_000, creates=True),
    "nothing": Fault.answers(201, "", creates=True),
    "null": Fault.answers(201, "null", creates=True),
    "no id": Fault.answers(201, {"status": "starting"}, creates=True),
    "an id with a slash": Fault.answers(201, {"id": "../account", "status": "starting"}),
}
SENT_AND_REFUSED = {"500 and nothing made", "500 after the creation", "502 as a page"} | {
    "504 after the creation", "429", "a redirect",
}  # fmt: skip


@pytest.fixture
def hasty(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplicateClient]:
    """One that waits only shortly for answers."""
    monkeypatch.setattr(client_module, "TIMEOUT", httpx.Timeout(5.0, read=0.2))
    monkeypatch.setattr(client_module, "ANSWER_SECONDS", 0.4)
    with client_of(sandbox.url) as client:
        yield client


@pytest.mark.parametrize("name", FAULTS)
def test_a_create_is_sent_once_and_never_again(
    sandbox: Sandbox, hasty: ReplicateClient, name: str
) -> None:
    sandbox.faults.add(FAULTS[name])
    reply = ask(hasty)

    assert isinstance(reply, Rejected if name in SENT_AND_REFUSED else NoAnswer), reply
    assert len(sandbox.ledger.creates()) == 1
    assert DEFAULT_TOKEN not in repr(reply)


@pytest.mark.parametrize(
    "answer",
    [
        with_body(b'{"id": "' + AN_ID.encode() + b'", "status": "\xff\xfe"}', 201),
        with_body(b"no gzip", 201, "content-encoding: gzip"),
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 201 Created\r\ncontent-length: 20\r\n\r\n{",
        b"HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"",
        with_body(b"", 302, "location: https:login"),
        with_body(b"", 302, "location: https://xn--/"),
    ],
    ids=[
        "invalid UTF-8",
        "broken gzip",
        "not HTTP",
        "body cut short",
        "broken chunks",
        "nothing",
        "a redirect without a host",
        "a redirect to no name",
    ],
)
def test_an_answer_that_no_proper_server_gives_is_unclear(answer: bytes) -> None:
    with canned(answer) as server, client_of(server.url) as client:
        assert isinstance(ask(client), NoAnswer)

    assert len(server.requests) == 1


def test_a_status_that_nobody_knows_still_has_its_prediction(
    sandbox: Sandbox, client: ReplicateClient
) -> None:
    sandbox.faults.add(Fault.answers(201, {"id": AN_ID, "status": "brand-new"}))

    assert made(ask(client)) == Prediction(AN_ID, "brand-new")


def test_a_port_that_only_accepts_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "TIMEOUT", httpx.Timeout(5.0, read=0.2))
    with socket.create_server(("127.0.0.1", 0)) as silent, client_of(url_of(silent)) as client:
        assert ask(client) == NoAnswer("ReadTimeout: timed out")


def url_of(listening: socket.socket) -> str:
    return f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_where_nobody_listens_nothing_was_sent(sandbox: Sandbox, client: ReplicateClient) -> None:
    sandbox.stop()

    assert isinstance(ask(client), NotSent)
    assert len(sandbox.ledger) == 0


def test_a_prompt_that_cannot_be_encoded_is_not_sent(
    sandbox: Sandbox, client: ReplicateClient
) -> None:
    assert isinstance(ask(client, "a cat \udcff"), NotSent)
    assert len(sandbox.ledger) == 0


@pytest.mark.parametrize("no_json", [float("nan"), float("inf"), b"bytes", {"a", "set"}, object()])
def test_an_input_that_cannot_be_json_is_not_sent(
    sandbox: Sandbox, client: ReplicateClient, no_json: object
) -> None:
    assert isinstance(ask(client, guidance=no_json), NotSent)
    assert len(sandbox.ledger) == 0


def test_a_token_that_is_no_header_is_not_sent(sandbox: Sandbox) -> None:
    with client_of(sandbox.url, token="r8_very\r\nsecret") as client:
        assert isinstance(ask(client), NotSent)
    assert len(sandbox.ledger) == 0


def test_an_answer_to_a_create_shows_how_many_more_may_leave() -> None:
    noted: list[int | None] = []
    with (
        Sandbox(creates_per_minute=6, burst=3) as sandbox,
        contextlib.closing(
            ReplicateClient(DEFAULT_TOKEN, sandbox.url, 300, UNLIMITED, note_remaining=noted.append)
        ) as client,
    ):
        for _ in range(4):  # the last one is refused
            ask(client)

    assert noted == [2, 1, 0]
