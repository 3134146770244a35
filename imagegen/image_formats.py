"""The format of an image by its first bytes: its name and its headers may be wrong."""

import re
from dataclasses import dataclass

# Enough of an image to tell its format. The text before an SVG's first element may be long.
FIRST_BYTES = 16 * 1024


@dataclass(frozen=True)
class Format:
    suffix: str
    media_type: str


AVIF = Format("avif", "image/avif")
FORMATS = {
    rb"\x89PNG\r\n\x1a\n": Format("png", "image/png"),
    rb"\xff\xd8\xff": Format("jpg", "image/jpeg"),
    rb"GIF8[79]a": Format("gif", "image/gif"),
    rb"RIFF....WEBP": Format("webp", "image/webp"),
    rb"....ftypavi[fs]": AVIF,
}
# What may stand before an element. The groups are atomic: nothing is read twice.
MISC = r"(?>(?:\s+|<\?.*?\?>|<!--.*?-->)*)"
# The type of the document may define entities.
DOCTYPE = r"(?><!DOCTYPE\s+(?:\w+:)?svg\b[^<>\[]*(?:\[.*?\]\s*)?>)"
SVG = re.compile(rf"{MISC}(?:{DOCTYPE}{MISC})?<(?:\w+:)?svg[\s/>]", re.DOTALL | re.IGNORECASE)
BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
# A container of images names its brands. Those of HEVC are of HEIC, which has the same container.
BOX = re.compile(rb"(....)ftyp(?:mif1|miaf|msf1)", re.DOTALL)
AVIF_BRANDS = {b"avif", b"avis"}
OTHER_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"jpeg", b"avci", b"vvic"}


def format_of(image: bytes) -> Format | None:
    """Return the format of an image, by FIRST_BYTES of it or all; None if it is not known."""
    start = image[:FIRST_BYTES]
    for pattern, kind in FORMATS.items():
        if re.match(pattern, start, re.DOTALL):
            return kind
    if _is_avif(start):
        return AVIF
    return Format("svg", "image/svg+xml") if _is_svg(start) else None


def _is_avif(start: bytes) -> bool:
    """Return whether it is a container that says AVIF among its brands, or nothing else."""
    if not (box := BOX.match(start)):
        return False
    end = min(int.from_bytes(box[1], "big"), len(start))
    brands = {start[at : at + 4] for at in range(16, end, 4)}
    return bool(brands & AVIF_BRANDS) or not brands & OTHER_BRANDS


def _is_svg(start: bytes) -> bool:
    mark = next((each for each in BYTE_ORDER_MARKS if start.startswith(each)), b"")
    encoding = BYTE_ORDER_MARKS.get(mark, "utf-8")
    text = start.removeprefix(mark).decode(encoding, "replace")
    return text.lstrip()[:1] == "<" and SVG.match(text) is not None
