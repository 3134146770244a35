"""The format of an image is told by its first bytes, however it begins."""

import time

import pytest

from imagegen.image_formats import FIRST_BYTES, format_of

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"/>'
DOCTYPE = (
    '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN"'
    ' "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">'
)
ENTITIES = '<!DOCTYPE svg [\n<!ENTITY ns "http://ns.example.com/[1]/">\n]>'


def container(major: bytes, *compatible: bytes) -> bytes:
    brands = b"".join(compatible)
    size = (16 + len(brands)).to_bytes(4, "big")
    return size + b"ftyp" + major + bytes(4) + brands + b"\0\0\0\x20metaheic"


@pytest.mark.parametrize(
    "text",
    [
        SVG,
        "<svg>",
        "<svg:svg xmlns:svg='http://www.w3.org/2000/svg'/>",
        f"\n\t  {SVG}",
        f'<?xml version="1.0" encoding="UTF-8"?>\n{SVG}',
        f"<!-- made by a <tool> -->\n<!-- of > 1 -->{SVG}",
        f"{DOCTYPE}{SVG}",
        f'<?xml version="1.0"?>\n<!-- one -->\n{ENTITIES}\n<?sheet?><!-- two -->\n{SVG}',
        f"<!--{'x' * (FIRST_BYTES // 4)}-->{SVG}",
    ],
)
def test_an_svg_is_told_by_its_first_element(text: str) -> None:
    for image in (
        text.encode(),
        b"\xef\xbb\xbf" + text.encode(),
        b"\xff\xfe" + text.encode("utf-16-le"),
    ):
        kind = format_of(image)
        assert kind is not None
        assert (kind.suffix, kind.media_type) == ("svg", "image/svg+xml")


@pytest.mark.parametrize(
    "text",
    [
        f"<!DOCTYPE html><html>{SVG}</html>",
        f"<html>{SVG}</html>",
        f"text {SVG}",
        f"<?xml version='1.0'?><Error>{SVG}</Error>",
        "<svgz>",
        "<!-- no end <svg>",
        "",
        "\ufeff",
    ],
)
def test_a_page_or_a_text_with_an_svg_in_it_is_none(text: str) -> None:
    assert format_of(text.encode()) is None


def test_a_text_that_is_made_to_take_long_takes_no_time() -> None:
    began = time.monotonic()
    for part in ("<!-- -->", "<?x?>", "<!--", " ", "<!DOCTYPE svg [", "<!DOCTYPE svg ]>", "]"):
        format_of(b"<!DOCTYPE svg [" + (part * FIRST_BYTES).encode())
        assert format_of((part * FIRST_BYTES).encode()) is None
    assert time.monotonic() - began < 1.0


@pytest.mark.parametrize(
    "image",
    [
        container(b"avif", b"mif1", b"miaf"),
        container(b"avis", b"avif", b"msf1"),
        container(b"mif1", b"avif", b"miaf", b"MA1B"),
        container(b"mif1", b"mif1", b"miaf"),
        container(b"miaf"),
        container(b"msf1", b"avis"),
    ],
)
def test_an_avif_is_told_by_its_brands(image: bytes) -> None:
    kind = format_of(image)
    assert kind is not None
    assert (kind.suffix, kind.media_type) == ("avif", "image/avif")


@pytest.mark.parametrize(
    "image", [container(b"mif1", b"heic"), container(b"heic", b"mif1"), container(b"isom", b"avif")]
)
def test_a_container_of_something_else_is_no_avif(image: bytes) -> None:
    assert format_of(image) is None
