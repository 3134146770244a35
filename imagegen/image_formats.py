"""The format of an image by its first bytes: its name and its headers may be wrong."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Format:
    suffix: str
    media_type: str


FORMATS = {
    rb"\x89PNG\r\n\x1a\n": Format("png", "image/png"),
    rb"\xff\xd8\xff": Format("jpg", "image/jpeg"),
    rb"GIF8[79]a": Format("gif", "image/gif"),
    rb"RIFF....WEBP": Format("webp", "image/webp"),
    rb"....ftypavi[fs]": Format("avif", "image/avif"),
}


def format_of(image: bytes) -> Format | None:
    """Return the format; None if it is not one of FORMATS."""
    found = (each for start, each in FORMATS.items() if re.match(start, image, re.DOTALL))
    return next(found, None)
