"""The client over real HTTP: paths and headers, rejections, polls and cancels as plain values."""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from imagegen.replicate import client as client_module
from imagegen.replicate.client import ReplicateClient
from imagegen.replicate.replies import Answered, NoAnswer, Rejected
from tests.support.canned_server import canned, with_body
from tests.support.replicate_client import AN_ID, ask, client_of, made
from tests.support.sandbox import DEFAULT_TOKEN, Entry, Fault, Sandbox

VERSION = "0123456789abcdef" * 4


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
        ("deployments/owner/name", "/v1/deployments/owner/name/predictions", None),
    ],
)
def test_each_way_to_name_a_model_has_its_path(
    sandbox: Sandbox, client: ReplicateClient, model: str, path: str, asked_version: str | None
) -> None:
    made(ask(client, model=model))

    assert only_request(sandbox).path == path
    assert sandbox.predictions[0].version == (asked_version or "hidden")


def test_a_create_is_ended_by_replicate_when_it_runs_too_long() -> None:
    with canned(with_body(b"{}")) as server, client_of(server.url) as client:
        ask(client)

    [request] = server.requests
    head = request.lower()
    assert head.startswith("post /v1/models/black-forest-labs/flux-schnell/predictions http/1.1")
    assert "\r\ncancel-after: 300s\r\n" in head
    assert f"\r\nauthorization: bearer {DEFAULT_TOKEN}\r\n" in head
    assert "\r\nprefer:" not in head


@pytest.mark.parametrize(
    ("base", "path"),
    [
        ("/replicate", "/replicate/v1/predictions"),
        ("/v1", "/v1/predictions"),
        ("/proxy/v1", "/proxy/v1/predictions"),
        ("/v1/account/gateway/replicate", "/v1/account/gateway/replicate/predictions"),
    ],
)
def test_a_path_in_the_base_url_is_kept_and_a_version_in_it_not_added_again(
    base: str, path: str
) -> None:
    with canned(with_body(b"{}")) as server, client_of(f"{server.url}{base}") as client:
        ask(client, model=VERSION)

    assert server.requests[0].startswith(f"POST {path} HTTP/1.1")


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
    body, headers = {"title": "No r8_wrong", "detail": "not r8_wrong"}, {"server": "cloudflare"}
    sandbox.faults.add(Fault.answers(401, body, headers=headers))
    with client_of(sandbox.url, token="r8_wrong") as client:
        reply = ask(client)

    assert reply == Rejected(401, "No [hidden]", "not [hidden]")


@pytest.mark.parametrize(
    ("body", "page", "other_json"),
    [
        ("<html><TITLE lang=en>\nAttention &amp; r8_wrong\n</title>", "Attention & [hidden]", ""),
        ("Blocked by policy\nr8_wrong", "Blocked by policy [hidden]", ""),
        ("<html><body>no title", "", ""),
        ("", "", ""),
        ({"error": {"message": "no r8_wrong"}}, "", '{"error": {"message": "no [hidden]"}}'),
        ("[7]", "", "[7]"),
    ],
)
def test_an_answer_that_is_not_replicates_says_who_sent_it(
    sandbox: Sandbox, body: object, page: str, other_json: str
) -> None:
    headers = {"server": "squid", "content-type": "text/html"}
    sandbox.faults.add(Fault.answers(403, body, headers=headers))
    with client_of(sandbox.url, token="r8_wrong") as client:
        reply = ask(client)

    from_server = ", ".join(filter(None, [page, "from squid"]))
    assert reply == Rejected(403, page=from_server, other_json=other_json)


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
    monkeypatch.setattr(client_module, "TIMEOUT", httpx.Timeout(10.0, pool=0.1))
    sandbox.faults.add(Fault.late(1.0))
    with client_of(sandbox.url) as client, ThreadPoolExecutor(25) as slots:
        replies = slots.map(lambda _: ask(client), range(25))

        assert {type(reply) for reply in replies} == {Answered}
