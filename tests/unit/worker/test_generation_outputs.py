"""What a prediction brings: an image, one within its output, nothing, or what cannot be read."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from imagegen.replicate.replies import (
    Answered,
)
from imagegen.worker import settlement
from imagegen.worker.image_copies import ImageCopies
from tests.support.generation_runs import (
    AN_ID,
    AN_IMAGE,
    DONE,
    NEW,
    STARTED,
    adopted,
    adopted_after,
    generate,
    open_gate,
    prediction,
)

pytestmark = pytest.mark.usefixtures("without_waiting")

WITHIN_OUTPUT = Answered(
    prediction("succeeded", ["data:image/webp;base64,UklGRhAAAABXRUJQVlA4IAQAAAA="])
)
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
