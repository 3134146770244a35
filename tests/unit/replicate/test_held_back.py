"""What a model's log says of images that it held back: who says so, and who denies it."""

import time

import pytest

from imagegen.replicate.held_back import is_held_back


@pytest.mark.parametrize(
    "line",
    [
        "NSFW content detected",
        "NSFW content was detected",
        "NSFW content detected in image 0",
        "WARNING:root:NSFW content detected in image 12, skipping",
        "NSFW content detected. Try running it again, or try a different prompt.",
        "NSFW content detected (score 0.98)",
        "NSFW content detected: True",
        "Warning: Potential NSFW content detected. Black image returned.",
        "Potential NSFW content was detected in one or more images. A black image will be returned"
        " instead. Try again with a different prompt and/or seed.",
        "All generated images contained NSFW content. Try running it again.",
        "Image 1 flagged as NSFW",
        "image was flagged as unsafe by the safety checker",
        "unsafe content detected",
        "1 image was filtered by the safety checker",
        "NSFW detected in image 2",
        "has_nsfw_concepts: [False, True]",
        '{"nsfw_content_detected": [true]}',
        "is_nsfw=True",
        "NSFW detected: True",
        "Detected potential NSFW content, replacing with black image",
        "NSFW content found in output",
        "Output image flagged by safety checker",
        "Safety checker flagged image 0",
        "Safety checker triggered: returning a blank image",
        "Image replaced by black image",
        "Image 0 was blocked by the safety filter",
        "Output was flagged as sensitive by the safety system",
        "1 of 1 images were unsafe",
        "The output has been blacked out",
        "finish_reason: IMAGE_SAFETY",
    ],
)
def test_an_image_was_held_back(line: str) -> None:
    log = f"Using seed: 42\nPrompt: a cat\n 50%|#####     | 1/2\r100%|##########| 2/2\n{line}\ndone"

    assert is_held_back(log, "a cat")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nsfw: false",
        "Settings: {'nsfw': True, 'allow_nsfw': True, 'nsfw_filter': True, 'safety_checker': True}",
        "NSFW check passed",
        "No NSFW content detected",
        "no potential NSFW content was detected",
        "NSFW content was not detected",
        "NSFW content detected: False",
        "NSFW content detected: none",
        "NSFW content detected: 0",
        "NSFW content detected in 0 images",
        "0 NSFW images detected",
        "none of the images was flagged as NSFW",
        "NSFW content detected in: [none]",
        "NSFW content detected: []",
        "has_nsfw_concepts: [False, False]",
        '{"nsfw_content_detected": [false]}',
        "safety_checker disabled",
        "The safety checker is disabled: NSFW content detected in image 0 is returned",
        "You have disabled the safety checker for this pipeline by passing safety_checker=None",
        "Running safety checker (a black image will be returned if NSFW content is detected)",
        "NSFW content detected in image 0, retrying with another seed",
        "Total safe images: 1 out of 1",
        "nsfw_score: 0.02",
        "Negative prompt: NSFW content detected",
        "Revised prompt: a black image was returned",
        "Running safety checker",
        "Content moderation",
        "Loading safety checker took 0.3s",
        "Image passed safety check",
        "no images were flagged by the safety checker",
        "safety checker: 0 images flagged",
        "Returning image with black background",
        "Safety filter disabled: unsafe content is not blocked",
    ],
)
def test_a_log_that_merely_mentions_it_holds_no_image_back(line: str) -> None:
    assert not is_held_back(f"Using seed: 42\nPrompt: a cat\n{line}\n", "a cat")


def test_a_very_long_log_is_read_quickly() -> None:
    for part in ("nsfw " * 200_000, "nsfw" + " " * 1_000_000, "images " * 100_000, "0 " * 400_000):
        assert not is_held_back(part, "a cat")


@pytest.mark.parametrize("filler", [" ", "\t", "[", "no ", "image ", "nsfw_", "true,"])
def test_no_line_of_a_log_takes_long(filler: str) -> None:
    """A worker that reads it does nothing else, and is killed as hung after a while."""
    line = f"NSFW content detected{filler * 1000}in"
    began = time.process_time()

    is_held_back(line, "a cat")

    assert time.process_time() - began < 1.0
