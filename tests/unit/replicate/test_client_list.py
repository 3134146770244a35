"""Replicate's list over real HTTP: all of its pages, or a plain value that says why not."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import quote

import pytest

from imagegen.replicate import client as client_module
from imagegen.replicate.client import ReplicateClient
from imagegen.replicate.replies import Listed, NoAnswer, NotSent, Rejected
from tests.support.canned_server import canned, with_body
from tests.support.replicate_client import AN_ID, ask, client_of, made, since
from tests.support.sandbox import Fault, ReplyScript, Sandbox

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def create(client: ReplicateClient, prompt: str) -> str:
    return made(ask(client, prompt)).id


def a_page(next_url: str | None, *ids: str, created_at: str | None = None) -> bytes:
    results = [{"id": each, "status": "starting", "created_at": created_at} for each in ids]
    return sent_now({"next": next_url, "results": results})


def sent_now(body: object) -> bytes:
    date = f"date: {format_datetime(datetime.now(UTC), usegmt=True)}"
    return with_body(json.dumps(body).encode(), 200, date)


def test_the_list_goes_over_all_pages_newest_first(
    sandbox: Sandbox, client: ReplicateClient
) -> None:
    ids = [create(client, f"cat {number}") for number in range(201)]
    listed = client.list(since(LONG_AGO))

    assert listed.missing is None
    assert [item.id for item in listed.predictions] == list(reversed(ids))
    assert listed.predictions[0].prompt == "cat 200"
    assert len(sandbox.ledger.of("list")) == 3


def test_the_list_is_asked_since_a_time(sandbox: Sandbox, client: ReplicateClient) -> None:
    create(client, "a cat")

    in_an_hour = datetime.now(UTC) + timedelta(hours=1)

    listed = client.list(since(in_an_hour), since(in_an_hour + timedelta(hours=1)))

    assert (listed.predictions, listed.missing) == ((), None)
    [asked] = sandbox.ledger.of("list")
    well_before = in_an_hour - timedelta(seconds=30)
    assert asked.path == f"/v1/predictions?created_after={quote(well_before.isoformat())}"


def test_a_clock_that_is_ahead_of_replicates_hides_no_prediction(
    sandbox: Sandbox, client: ReplicateClient
) -> None:
    made = create(client, "a cat")
    an_hour_ahead = datetime.now(UTC) + timedelta(hours=1)
    listed = client.list(since(an_hour_ahead, 60.0))

    assert listed.missing is None
    assert [item.id for item in listed.predictions] == [made]


def test_a_clock_that_agrees_with_replicates_costs_one_request(
    sandbox: Sandbox, client: ReplicateClient
) -> None:
    made_at = datetime.now(UTC)
    made = create(client, "a cat")

    listed = client.list(since(made_at))

    assert [item.id for item in listed.predictions] == [made]
    assert len(sandbox.ledger.of("list")) == 1


@pytest.mark.parametrize(
    "date",
    [
        "",
        "date: yesterday",
        "date: Thu, 01 Jan 2026",
        "date: Thu, 01 Jan 1970 00:00:00",
        "date: Mon, 01 Jan 2024 00:00:00 +9999999999999999",
        "date: Mon, 01 Jan 99999999999 00:00:00",
    ],
)
def test_a_list_says_what_it_holds_whether_or_not_it_tells_the_time(date: str) -> None:
    page = with_body(b'{"next": null, "results": []}', 200, *filter(None, [date]))
    with canned(page) as server, client_of(server.url) as client:
        listed = client.list(since(LONG_AGO))

    assert (listed.predictions, listed.missing) == ((), None)


def test_a_list_says_when_it_was_sent_by_the_clock_of_its_sender() -> None:
    page = with_body(b'{"next": null, "results": []}', 200, "date: Thu, 01 Jan 2026 12:00:00 GMT")
    with canned(page) as server, client_of(server.url) as client:
        assert client.list(since(LONG_AGO)).sent_at == datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "next_url",
    [
        "http://127.0.0.1:1/v1/predictions?cursor=2",  # behind a proxy that rewrites nothing
        "https://api.replicate.com/v1/predictions?cursor=2",
        "https://proxy.example/replicate/v1/predictions?cursor=2",
        "//proxy.example/v1/predictions?cursor=2",
        "/v1/predictions?cursor=2",
    ],
)
def test_the_next_page_is_asked_for_where_the_first_was_and_the_token_goes_nowhere_else(
    next_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "LIST_PAGES", 2)
    with canned(a_page(next_url, AN_ID)) as server, client_of(server.url) as client:
        client.list(since(LONG_AGO))

    _, second = server.requests
    assert second.startswith("GET /v1/predictions?cursor=2 HTTP/1.1")


@pytest.mark.parametrize(
    "elsewhere",
    [
        *("//h/x", "?c", "no URL", "https://[1", "https://h/v1/predictions"),
        *("https://h/v1/account?cursor=2", f"https://h/v1/predictions/{AN_ID}/cancel?cursor=2"),
    ],
)
def test_a_next_page_that_is_no_list_is_not_asked_for(elsewhere: str) -> None:
    with canned(a_page(elsewhere, AN_ID)) as server, client_of(server.url) as client:
        listed = client.list(since(LONG_AGO))

    assert listed.missing == NoAnswer("a list of predictions that goes on elsewhere")

    assert len(server.requests) == 1


def test_a_next_page_is_asked_for_below_the_base_url() -> None:
    below = a_page("/replicate/v1/predictions?cursor=2", AN_ID)
    with canned(below) as server, client_of(f"{server.url}/replicate") as client:
        client.list(since(LONG_AGO))

    assert server.requests[1].startswith("GET /replicate/v1/predictions?cursor=2 HTTP/1.1")


def test_a_list_that_repeats_itself_is_asked_for_no_further() -> None:
    endless = a_page("/v1/predictions?cursor=again", AN_ID)
    with canned(endless) as server, client_of(server.url) as client:
        listed = client.list(since(LONG_AGO))

    assert [item.id for item in listed.predictions] == [AN_ID]
    assert listed.missing == NoAnswer("a list of predictions that repeats itself")
    assert len(server.requests) == 2


def test_a_list_ends_with_the_first_page_that_is_older_whatever_was_asked_for() -> None:
    older = a_page("/v1/predictions?cursor=on", AN_ID, created_at="2019-12-31T23:59:00Z")
    with canned(older) as server, client_of(server.url) as client:
        assert client.list(since(LONG_AGO)).missing is None

    assert len(server.requests) == 1


@pytest.mark.parametrize("odd", [None, 7, "text", [], {}, {"id": 5}, {"id": "NO", "status": None}])
def test_an_odd_item_hides_no_other(odd: object) -> None:
    results = [odd, {"id": AN_ID, "status": None, "input": {"seed": 7}}]
    page = with_body(json.dumps({"results": results, "next": None}).encode())
    with canned(page) as server, client_of(server.url) as client:
        listed = client.list(since(LONG_AGO))

    assert listed.missing is None
    assert [(item.id, item.seed) for item in listed.predictions if item.id] == [(AN_ID, 7)]


def test_a_page_of_images_as_text_is_read_item_by_item_whatever_its_length() -> None:
    image = "data:image/webp;base64," + "A" * 3_000_000
    items = [
        {"id": f"prediction{n:02}", "status": "succeeded", "output": [image], "input": {"seed": n}}
        for n in range(20)
    ]
    page = sent_now({"next": None, "results": items})
    with canned(page) as server, client_of(server.url) as client:
        listed = client.list(since(LONG_AGO))

    assert listed.missing is None
    assert [item.seed for item in listed.predictions] == list(range(20))
    assert all(item.output is None for item in listed.predictions)


def test_what_is_no_page_of_a_list_tells_nothing() -> None:
    with canned(with_body(b"[]")) as server, client_of(server.url) as client:
        listed = client.list(since(LONG_AGO))

    assert listed == Listed((), NoAnswer("a list of predictions that cannot be read"))


@pytest.mark.parametrize("status", [401, 429, 500, 503, 302])
def test_a_list_that_is_refused_tells_nothing(
    sandbox: Sandbox, client: ReplicateClient, status: int
) -> None:
    sandbox.faults.add(Fault.answers(status, operation="list"))
    reply = client.list(since(LONG_AGO)).missing

    assert isinstance(reply, Rejected)
    assert reply.status == status
    assert len(sandbox.ledger) == 1


def test_a_list_cut_short_on_its_second_page_tells_of_the_first(
    sandbox: Sandbox, client: ReplicateClient
) -> None:
    for number in range(101):
        create(client, f"cat {number}")
    whole = Fault(operation="list", times=1, reply=ReplyScript(creates=True))
    sandbox.faults.add(whole, Fault.cuts_short(operation="list"))

    listed = client.list(since(LONG_AGO))
    assert isinstance(listed.missing, NoAnswer)
    assert len(listed.predictions) == 100
    assert len(sandbox.ledger.of("list")) == 2


def test_an_unreachable_list_tells_nothing(sandbox: Sandbox, client: ReplicateClient) -> None:
    sandbox.stop()

    assert isinstance(client.list(since(LONG_AGO)).missing, NotSent)
