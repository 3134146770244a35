"""What an output means: an image, none, or one that was held back as unsafe."""

import pytest

from imagegen.failures import Kind
from imagegen.replicate import outcomes
from imagegen.replicate.outcomes import (
    Failed,
    Succeeded,
)
from imagegen.replicate.replies import Prediction
from tests.unit.replicate.test_outcomes import AN_ID, AN_IMAGE, category, ended

ANOTHER = "https://replicate.delivery/pbxt/9inf/out-1.png"
A_DATA_URI = "data:image/webp;base64,UklGRhAAAABXRUJQVlA4IAQAAAA="


def test_a_success_gives_its_image_and_its_times() -> None:
    outcome = ended("succeeded", [AN_IMAGE], predict_seconds=0.7, total_seconds=0.8)

    assert outcome == Succeeded(AN_IMAGE, 0.7, 0.8)


@pytest.mark.parametrize(
    ("output", "counted", "images"),
    [
        ([AN_IMAGE], None, 1),
        ([[AN_IMAGE, ANOTHER]], None, 2),
        ({"images": [AN_IMAGE, ANOTHER], "seed": 42}, None, 2),
        ([AN_IMAGE, AN_IMAGE], None, 1),
        ([None, AN_IMAGE], None, 1),
        ([AN_IMAGE], 4, 4),  # as Replicate counts them, whatever the output shows
    ],
)
def test_each_image_is_counted_for_the_bill(
    output: object, counted: int | None, images: int
) -> None:
    outcome = ended("succeeded", output, images_made=counted)

    assert isinstance(outcome, Succeeded)
    assert outcome.images == images


def test_an_image_within_the_output_is_read_where_images_are_kept() -> None:
    prediction = Prediction(AN_ID, "succeeded", output=[A_DATA_URI])
    kept = outcomes.of_prediction(prediction, http_allowed=False, data_allowed=True)
    unreadable = outcomes.of_prediction(prediction, http_allowed=False)

    assert isinstance(kept, Succeeded)
    assert kept.image_url == A_DATA_URI
    assert A_DATA_URI not in repr(kept)
    assert isinstance(unreadable, Failed)
    assert unreadable.kind is Kind.UNREADABLE
    assert "IMAGEGEN_KEEP_IMAGES" in unreadable.message


def test_an_image_with_a_url_is_handed_on_before_one_within_the_output() -> None:
    outcome = ended("succeeded", [A_DATA_URI, AN_IMAGE])

    assert isinstance(outcome, Succeeded)
    assert outcome.image_url == AN_IMAGE


@pytest.mark.parametrize("nothing", [None, [], "", {}, [None], [[]], {"images": []}])
def test_a_success_without_any_output_is_tried_again(nothing: object) -> None:
    assert category(ended("succeeded", nothing)) == "no_output"


@pytest.mark.parametrize(
    "unreadable", ["hello", {"video": "https://h/x.mp4"}, 7, ["ftp://h/x.png"]]
)
def test_a_success_whose_output_cannot_be_read_is_not_paid_for_again(unreadable: object) -> None:
    assert category(ended("succeeded", unreadable)) == "unreadable"


# Images that were held back.

DROPPED = "Prompt: a cat\nNSFW content detected in image 0\n"
BLACKENED = (
    "Potential NSFW content was detected in one or more images. A black image will be returned"
    " instead. Try again with a different prompt and/or seed."
)


@pytest.mark.parametrize("log", ["NSFW content was detected", DROPPED, BLACKENED])
@pytest.mark.parametrize("nothing", [None, [], "", {}, [None], {"images": [None]}, {"seed": 7}])
def test_an_output_without_the_images_that_were_held_back_gets_the_fallback(
    nothing: object, log: str
) -> None:
    assert category(ended("succeeded", nothing, logs=log)) == "held_back"


@pytest.mark.parametrize("output", [AN_IMAGE, [AN_IMAGE], {"image": AN_IMAGE}, [AN_IMAGE, "x"]])
def test_a_black_image_in_place_of_one_that_was_held_back_is_never_handed_on(
    output: object,
) -> None:
    assert category(ended("succeeded", output, logs=BLACKENED)) == "held_back"


@pytest.mark.parametrize(
    ("output", "asked", "log", "image"),
    [
        ([ANOTHER], None, DROPPED, ANOTHER),  # out-1.png: out-0.png was left out
        ([AN_IMAGE, ANOTHER], None, DROPPED, ANOTHER),
        ([AN_IMAGE], 2, BLACKENED, AN_IMAGE),  # fewer than asked for: the others were left out
        ([None, ANOTHER], None, BLACKENED, ANOTHER),
        (["https://h/tmpa.png", "https://h/tmpb.png"], 2, DROPPED, "https://h/tmpb.png"),
        ([AN_IMAGE], None, DROPPED + "Total safe images: 1 out of 2", AN_IMAGE),
        ([AN_IMAGE, ANOTHER], None, "has_nsfw_concepts: [True, False]", ANOTHER),
    ],
)
def test_of_several_images_one_that_was_not_held_back_is_handed_on(
    output: list[str], asked: int | None, log: str, image: str
) -> None:
    outcome = ended("succeeded", output, images_asked=asked, logs=log)

    assert isinstance(outcome, Succeeded)
    assert outcome.image_url == image


def test_if_nobody_can_tell_which_of_several_images_is_black_none_is_handed_on() -> None:
    assert category(ended("succeeded", [AN_IMAGE, ANOTHER], logs=BLACKENED)) == "held_back"


def test_a_prompt_that_speaks_of_it_holds_no_image_back() -> None:
    log = f"Using seed: 42\nGenerating: {BLACKENED}\nprompt: {BLACKENED[:70]}\n"

    assert isinstance(ended("succeeded", [AN_IMAGE], logs=log, prompt=BLACKENED), Succeeded)


@pytest.mark.parametrize("output", [None, []])
def test_an_image_that_replicate_has_deleted_since_is_not_paid_for_again(output: object) -> None:
    assert category(ended("succeeded", output, data_removed=True)) == "data_removed"


def test_an_image_still_there_counts_though_the_inputs_were_deleted() -> None:
    assert isinstance(ended("succeeded", [AN_IMAGE], data_removed=True), Succeeded)
