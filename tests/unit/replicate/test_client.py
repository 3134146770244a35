"""The client over real HTTP: one POST whatever happens, and a plain value whatever comes back."""

import contextlib
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from imagegen.replicate import client as provider_module
from imagegen.replicate.client import ReplicateClient
from imagegen.replicate.replies import Answered, NoAnswer, NotSent, Prediction, Rejected, Reply
from imagegen.sandbox import DEFAULT_TOKEN, Entry, Fault, Sandbox
from tests.support.canned_server import canned, with_body
from tests.support.generation import UNLIMITED

MODEL = "black-forest-labs/flux-schnell"
VERSION = "0123456789abcdef" * 4
AN_ID = "heat2o3bzn3ahtr6bjfftvbaci"
MEGABYTE = 1024 * 1024


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(latency_seconds=0.0) as running:
        yield running


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[ReplicateClient]:
    with provider_of(sandbox.url) as client:
        yield client


@pytest.fixture
def hasty(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplicateClient]:
    """One that waits only shortly for answers."""
    monkeypatch.setattr(provider_module, "TIMEOUT", httpx.Timeout(5.0, read=0.2))
    monkeypatch.setattr(provider_module, "ANSWER_SECONDS", 0.4)
    with provider_of(sandbox.url) as client:
        yield client


@contextlib.contextmanager
def provider_of(url: str, token: str = DEFAULT_TOKEN) -> Iterator[ReplicateClient]:
    with contextlib.closing(ReplicateClient(token, url, 300, UNLIMITED)) as client:
        yield client


def ask(client: ReplicateClient, prompt: str = "a cat", model: str = MODEL, **inputs: Any) -> Reply:
    return client.create(model, {"prompt": prompt, "seed": 7, **inputs})


def made(reply: object) -> Prediction:
    assert isinstance(reply, Answered), reply
    return reply.prediction


def only_request(sandbox: Sandbox) -> Entry:
    [entry] = sandbox.ledger
    return entry


# A create that goes well.


def test_a_create_gives_the_prediction_that_was_made(
    sandbox: Sandbox, client: ReplicateClient
) -> None:
    prediction = made(ask(client))

    assert prediction.status == "starting"
    assert (prediction.prompt, prediction.seed) == ("a cat", 7)
    assert only_request(sandbox).prediction_id == prediction.id


@pytest.mark.parametrize(
    ("model", "path", "asked_version"),
    [
        ("owner/name", "/v1/models/owner/name/predictions", None),
        (f"owner/name:{VERSION}", "/v1/predictions", VERSION),
        (VERSION, "/v1/predictions", VERSION),
    ],
)
def test_each_way_to_name_a_model_has_its_path(
    sandbox: Sandbox, client: ReplicateClient, model: str, path: str, asked_version: str | None
) -> None:
    made(ask(client, model=model))

    assert only_request(sandbox).path == path
    assert sandbox.predictions[0].version == (asked_version or "hidden")


def test_a_create_is_ended_by_replicate_when_it_runs_too_long() -> None:
    with canned(with_body(b"{}")) as server, provider_of(server.url) as client:
        ask(client)

    [request] = server.requests
    head = request.lower()
    assert head.startswith("post /v1/models/black-forest-labs/flux-schnell/predictions http/1.1")
    assert "\r\ncancel-after: 300s\r\n" in head
    assert f"\r\nauthorization: bearer {DEFAULT_TOKEN}\r\n" in head
    assert "\r\nprefer:" not in head


def test_a_path_in_the_base_url_is_kept() -> None:
    with canned(with_body(b"{}")) as server, provider_of(f"{server.url}/replicate") as client:
        ask(client, model=VERSION)

    assert server.requests[0].startswith("POST /replicate/v1/predictions HTTP/1.1")


# One POST, whatever happens.

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
    with canned(answer) as server, provider_of(server.url) as client:
        assert isinstance(ask(client), NoAnswer)

    assert len(server.requests) == 1


def test_a_status_that_nobody_knows_still_has_its_prediction(
    sandbox: Sandbox, client: ReplicateClient
) -> None:
    sandbox.faults.add(Fault.answers(201, {"id": AN_ID, "status": "brand-new"}))

    assert made(ask(client)) == Prediction(AN_ID, "brand-new")


def test_a_port_that_only_accepts_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_module, "TIMEOUT", httpx.Timeout(5.0, read=0.2))
    with socket.create_server(("127.0.0.1", 0)) as silent, provider_of(url_of(silent)) as client:
        assert ask(client) == NoAnswer("ReadTimeout: timed out")


def url_of(listening: socket.socket) -> str:
    return f"http://127.0.0.1:{listening.getsockname()[1]}"


# Nothing was sent.


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
    with provider_of(sandbox.url, token="r8_very\r\nsecret") as client:
        assert isinstance(ask(client), NotSent)
    assert len(sandbox.ledger) == 0


# Rejections.


def test_a_rejection_says_its_status_its_words_and_when_to_come_back(
    sandbox: Sandbox, client: ReplicateClient
) -> None:
    sandbox.faults.add(Fault.throttles(retry_after=9))
    reply = ask(client)

    assert isinstance(reply, Rejected)
    assert (reply.status, reply.title, reply.retry_after_seconds) == (429, "", 9.0)
    assert reply.detail.startswith("Request was throttled.")


def test_a_wrong_token_is_rejected_and_shown_nowhere(sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault.answers(401, {"title": "No r8_wrong", "detail": "not r8_wrong"}))
    with provider_of(sandbox.url, token="r8_wrong") as client:
        reply = ask(client)

    assert reply == Rejected(401, "No [hidden]", "not [hidden]")


@pytest.mark.parametrize("body", ["<html>", "", "[]", "null", "7", {"detail": ["a"]}])
def test_a_rejection_with_any_body_is_a_rejection(
    sandbox: Sandbox, client: ReplicateClient, body: object
) -> None:
    sandbox.faults.add(Fault.answers(500, body))
    reply = ask(client)

    assert isinstance(reply, Rejected)
    assert reply.status == 500


# Looks and cancels.


def test_a_look_sees_the_image(sandbox: Sandbox, client: ReplicateClient) -> None:
    prediction = made(ask(client))
    seen = made(client.get(prediction.id))

    assert seen.status == "succeeded"
    assert seen.output == [f"{sandbox.url}/files/{prediction.id}/out-0.png"]
    assert seen.total_seconds is not None


def test_another_prediction_than_the_one_asked_for_is_not_taken_for_it(
    sandbox: Sandbox, client: ReplicateClient
) -> None:
    another = {"id": "another0", "status": "succeeded", "output": [f"{sandbox.url}/files/a.png"]}
    sandbox.faults.add(Fault.answers(200, another, operation="get"))

    assert client.get(AN_ID) == NoAnswer("another prediction than the one asked for")


@pytest.mark.parametrize("status", [429, 503, 504])
def test_a_look_that_fails_is_one_request_and_does_not_sleep(
    sandbox: Sandbox, client: ReplicateClient, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    def sleep(seconds: float) -> None:
        raise AssertionError(f"slept {seconds} s")

    sandbox.faults.add(Fault.answers(status, headers={"retry-after": "300"}, operation="get"))
    with monkeypatch.context() as patched:
        patched.setattr(time, "sleep", sleep)
        reply = client.get(AN_ID)

    assert isinstance(reply, Rejected)
    assert reply.status == status
    assert len(sandbox.ledger.of("get")) == 1


def test_a_cancel_gives_the_prediction_as_it_ended(
    sandbox: Sandbox, client: ReplicateClient
) -> None:
    sandbox.faults.add(Fault.never_finishes())
    prediction = made(ask(client))

    assert made(client.cancel(prediction.id)).status == "canceled"
    assert [each.status for each in sandbox.predictions] == ["canceled"]


def test_no_request_waits_without_an_end(client: ReplicateClient) -> None:
    timeouts = client._http.timeout.as_dict()

    assert all(seconds is not None and seconds <= 15 for seconds in timeouts.values())
    assert timeouts == {"connect": 5.0, "read": 15.0, "write": 10.0, "pool": 5.0}


def test_as_many_requests_as_there_are_slots_are_on_their_way_at_once(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider_module, "TIMEOUT", httpx.Timeout(10.0, pool=0.1))
    sandbox.faults.add(Fault.late(1.0))
    with provider_of(sandbox.url) as client, ThreadPoolExecutor(25) as slots:
        replies = slots.map(lambda _: ask(client), range(25))

        assert {type(reply) for reply in replies} == {Answered}
