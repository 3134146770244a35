"""The format of an image, whatever it was called on its way."""

import subprocess
import sys

import pytest

from imagegen.image_formats import format_of


@pytest.mark.parametrize(
    ("start", "suffix", "media_type"),
    [
        (b"\x89PNG\r\n\x1a\n....", "png", "image/png"),
        (b"\xff\xd8\xff\xe0........", "jpg", "image/jpeg"),
        (b"GIF89a......", "gif", "image/gif"),
        (b"RIFF....WEBP", "webp", "image/webp"),
        (b"....ftypavif", "avif", "image/avif"),
    ],
)
def test_a_format_is_known_by_its_first_bytes(start: bytes, suffix: str, media_type: str) -> None:
    kind = format_of(start + b"more")

    assert kind is not None
    assert (kind.suffix, kind.media_type) == (suffix, media_type)


@pytest.mark.parametrize("start", [b"", b"RIFF....WAVE", b"<svg", b"PNG", b"MZ\x90\x00"])
def test_all_else_is_no_image(start: bytes) -> None:
    assert format_of(start) is None


def test_the_page_knows_images_without_the_sdk_of_replicate() -> None:
    program = "import sys, imagegen.web.app; print('replicate' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout == "False\n"
