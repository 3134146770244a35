"""What a prediction brings: an image, one within its output, nothing, or what cannot be read."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from imagegen.queue import Complete
from imagegen.replicate.replies import Answered
from imagegen.worker import settlement
from imagegen.worker.image_copies import ImageCopies
from tests.support.generation_claims import (
    AN_ID,
    AN_IMAGE,
    DONE,
    NEW,
    STARTED,
    adopted,
    adopted_after,
    prediction,
)
from tests.support.generation_runs import generate, open_gate

pytestmark = pytest.mark.usefixtures("without_waiting")

WITHIN_OUTPUT = Answered(
    prediction("succeeded", ["data:image/webp;base64,UklGRhAAAABXRUJQVlA4IAQAAAA="])
)
BASE = "https://images.example.com/"
NOTHING = Answered(prediction("succeeded", []))
UNREADABLE = Answered(prediction("succeeded", "hello"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "kept images"
    folder.mkdir()
    return folder


@pytest.fixture
def copies(folder: Path) -> Iterator[ImageCopies]:
    with contextlib.closing(ImageCopies(folder)) as copies:
        yield copies


def test_an_image_within_the_output_is_handed_on_with_the_url_of_its_copy(
    folder: Path, copies: ImageCopies
) -> None:
    calls = generate(creates=[STARTED], looks=[WITHIN_OUTPUT], copies=copies)

    (file,) = folder.iterdir()
    assert file.name == "7-1.webp"
    assert calls.about("complete") == [(file.as_uri(),)]


def test_an_image_within_the_output_waits_at_replicate_while_it_cannot_be_kept(
    folder: Path, copies: ImageCopies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settlement, "COPY_AGAIN_SECONDS", 0.0)
    folder.rmdir()
    calls = generate(creates=[STARTED], looks=[WITHIN_OUTPUT], copies=copies)

    assert calls.verbs()[-2:] == ["GET", "postpone"]


def test_an_image_with_a_copy_is_handed_on_below_the_base(
    copies: ImageCopies, folder: Path
) -> None:
    calls = generate(creates=[STARTED], looks=[WITHIN_OUTPUT], copies=copies, image_url_base=BASE)

    assert calls.about("complete") == [(f"{BASE}7-1.webp",)]
    assert [file.name for file in folder.iterdir()] == ["7-1.webp"]


@pytest.mark.parametrize(
    ("minutes", "happens"),
    [(0, ("postpone", 30.0)), (8, ("postpone", 120.0)), (44, ("postpone", 300.0))],
)
def test_an_image_that_cannot_be_kept_waits_for_its_copy_while_replicate_has_it(
    minutes: int, happens: tuple[str, float], folder: Path, copies: ImageCopies
) -> None:
    folder.rmdir()
    claim = replace(adopted_after(60.0 * minutes), postponed=True)

    calls = generate(claim, looks=[DONE], copies=copies, image_url_base=BASE)

    assert calls.happened[-1] == happens


def test_an_image_without_a_copy_is_handed_on_by_replicates_url_before_it_is_deleted(
    folder: Path, copies: ImageCopies
) -> None:
    folder.rmdir()
    claim = replace(adopted_after(46 * 60.0), postponed=True)

    calls = generate(claim, looks=[DONE], copies=copies, image_url_base=BASE)

    assert calls.about("complete") == [(AN_IMAGE,)]


@pytest.mark.parametrize(
    ("status", "happens"),
    [(404, ("fail_attempt", "data_removed", "failed")), (503, ("complete", AN_IMAGE))],
)
def test_an_image_that_is_gone_without_a_copy_blocks_no_next_stage(
    status: int, happens: tuple[str, ...], copies: ImageCopies
) -> None:
    claim = replace(adopted_after(46 * 60.0), postponed=True)
    copies._http = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(status)))

    calls = generate(claim, looks=[DONE], copies=copies, image_url_base=BASE)

    assert calls.happened[-1] == happens


def test_a_refused_image_that_waits_for_its_copy_is_not_tried_again_at_once(
    folder: Path, copies: ImageCopies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settlement, "COPY_AGAIN_SECONDS", 0.0)
    folder.rmdir()
    claim = replace(adopted_after(60.0), closing=Complete(AN_IMAGE, 0.7, 1))

    assert generate(claim, copies=copies, image_url_base=BASE).happened == [("postpone", 30.0)]


@pytest.mark.parametrize("base", [None, BASE])
def test_an_image_that_was_refused_for_an_hour_is_handed_on_by_its_copy(base: str | None) -> None:
    kept = Complete(AN_IMAGE, 0.7, 1, "/images/7-1.webp", "abc")
    claim = adopted(closing=kept, closing_refused_seconds=3601.0)

    calls = generate(claim, image_url_base=base)

    assert calls.about("complete") == [(f"{base}7-1.webp" if base else "file:///images/7-1.webp",)]


@pytest.mark.parametrize(
    ("unreadable", "ending"),
    [
        (NOTHING, ("no_output", "waits")),
        (UNREADABLE, ("unreadable", "failed")),
        (WITHIN_OUTPUT, ("unreadable", "failed")),
    ],
)
def test_an_output_that_cannot_be_read_is_read_again_for_a_minute(
    unreadable: Answered, ending: tuple[str, str]
) -> None:
    calls = generate(creates=[STARTED], looks=[unreadable])
    assert calls.happened[-1] == ("postpone", 30.0)
    calls = generate(adopted_after(59.0), looks=[DONE])
    assert calls.about("complete") == [(AN_IMAGE,)]

    calls = generate(replace(adopted_after(61.0), postponed=True), looks=[unreadable])
    assert calls.about("fail_attempt") == [ending]


def test_an_output_is_read_again_as_long_as_those_of_others_cannot_be_read_either() -> None:
    gate = open_gate()
    seen = replace(adopted_after(61.0), postponed=True)
    generate(seen, looks=[UNREADABLE], gate=gate)
    other = replace(seen, token_id=8)
    assert generate(other, looks=[UNREADABLE], gate=gate).verbs() == ["GET", "postpone"]
    gate.record_image()

    # This answer may be older than the image.
    assert generate(other, looks=[UNREADABLE], gate=gate).verbs() == ["GET", "postpone"]
    assert generate(other, looks=[UNREADABLE], gate=gate).verbs() == ["GET", "fail_attempt"]


@pytest.mark.parametrize("unreadable", [NOTHING, UNREADABLE, WITHIN_OUTPUT])
def test_two_outputs_in_a_row_that_cannot_be_read_close_the_gate_until_an_image_is_seen(
    unreadable: Answered,
) -> None:
    gate = open_gate()
    generate(creates=[STARTED], looks=[unreadable], gate=gate)
    assert gate.allows(10) == 10
    generate(replace(NEW, token_id=8), creates=[STARTED], looks=[unreadable], gate=gate)
    assert gate.allows(10) == 0
    generate(adopted(prediction_id=AN_ID), looks=[DONE], gate=gate)

    assert gate.allows(10) == 10


def test_images_that_were_held_back_close_no_gate() -> None:
    gate = open_gate()
    held_back = Answered(prediction("succeeded", [], logs="NSFW content detected"))
    for _ in range(3):
        generate(adopted(prediction_id=AN_ID, fallback=True), looks=[held_back], gate=gate)

    assert gate.allows(10) == 10
