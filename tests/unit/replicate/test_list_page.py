"""A page of Replicate's list is read as it arrives, in pieces of any length."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from imagegen.replicate import list_page
from imagegen.replicate.list_page import Since, read_page
from imagegen.replicate.marker import SEED
from imagegen.replicate.replies import Page

DATA = Path(__file__).parent / "data"
RECORDED = json.loads((DATA / "replicate-recorded.json").read_text())["responses"]
PREDICTIONS = [each["body"] for each in RECORDED if each["status"] < 400]


def pieces(text: bytes, length: int) -> Iterator[bytes]:
    for start in range(0, len(text), length):
        yield text[start : start + length]


def read(body: object, length: int = 1000) -> Page:
    return read_page(pieces(json.dumps(body, ensure_ascii=False).encode(), length), SEED)


@pytest.mark.parametrize("length", [1, 2, 7, 1000, 1_000_000])
def test_a_page_has_its_predictions_and_the_next_address(length: int) -> None:
    more: dict[str, Any] = {"previous": None, "número": 12.5, "next": "https://host/next"}
    page = read(more | {"results": PREDICTIONS, "after": [{}]}, length)

    assert [item.id for item in page.predictions] == [body["id"] for body in PREDICTIONS]
    assert [item.prompt for item in page.predictions] == [
        body["input"]["prompt"] for body in PREDICTIONS
    ]
    assert page.next_url == "https://host/next"


def test_a_number_beyond_all_bounds_hides_no_other_prediction() -> None:
    huge = b'{"id": "prediction1", "status": "starting", "input": {"seed": ' + b"9" * 5000 + b"}}"
    ours = b'{"id": "prediction2", "status": "starting", "input": {"seed": 2147483646}}'
    page = read_page([b'{"results": [' + huge + b", " + ours + b"]}"], SEED)

    assert [item.seed for item in page.predictions] == [None, 2147483646]


@pytest.mark.parametrize("last", [{"next": None}, {"next": ""}, {}])
def test_the_last_page_has_no_next_address(last: dict[str, Any]) -> None:
    assert read({"results": []} | last) == Page([], None)


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"null", b"[]", b"{", b"{}", b'{"results": 1}', b'{"results": [', b'{"results": [1'),
        *(b'{"results": [{"id": "aaaa', b'{"results": [], "next": 5}', b'{"results" []}', b"\xff"),
        *(b'{"results": []', b"[" * 100_000, b'{"results": [{]}'),
    ],
)
@pytest.mark.parametrize("length", [1, 1000])
def test_what_is_no_page_is_refused(text: bytes, length: int) -> None:
    with pytest.raises((ValueError, RecursionError)):
        read_page(pieces(text, length), SEED)


def test_a_list_is_asked_for_since_before_a_request_by_either_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(list_page, "boottime", lambda: 1007.0)
    sent_at = datetime(2026, 1, 1, 12, tzinfo=UTC)
    since = Since(sent_at, seconds_ago=5.0, noted_at=1000.0, slack_seconds=30.0)
    by_theirs = sent_at + timedelta(hours=1)

    assert since.asked_from == sent_at - timedelta(seconds=30)
    assert since.by_their_clock(by_theirs + timedelta(seconds=12)) == by_theirs - timedelta(
        seconds=15
    )
