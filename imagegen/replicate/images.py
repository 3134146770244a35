"""Finds the images in a prediction's output, whose shape differs from model to model."""

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from imagegen.image_formats import FIRST_BYTES, format_of

# Browsers and servers accept URLs of this length; Replicate's have a tenth of it.
LONGEST_URL = 2000
# Ten times the depth of the deepest output that was seen.
DEEPEST = 10
MOST_ITEMS = 1000
DATA = "data:"  # how a data: URI begins
# So many characters show whether a text is base64, which has groups of 4.
FIRST_CHARACTERS = 64
# So many show the format of the image in it.
FORMAT_CHARACTERS = FIRST_BYTES // 3 * 4
IMAGE_SUFFIX = re.compile(
    r"\.(png|jpe?g|jfif|webp|gif|avif|svg|bmp|tiff?|heic|heif|jxl)$", re.IGNORECASE
)
OTHER_SUFFIX = re.compile(
    r"\.(mp4|m4v|mov|webm|mkv|avi|mp3|wav|ogg|flac|m4a|aac|jsonl?|txt|md|csv|html?|xml|ya?ml|log|srt"
    r"|vtt|pdf|zip|tar|gz|tgz|glb|gltf|obj|ply|stl|fbx|usdz|safetensors|np[yz]|pth?|ckpt|css|js|py)$",
    re.IGNORECASE,
)
IMAGE_KEYS = re.compile(r"image|img|picture|photo", re.IGNORECASE)
# Keys of images that are not the one that was asked for.
OTHER_KEYS = re.compile(
    r"input|mask|depth|thumb|preview|video|audio|json|text|caption|meta|logs?\b|web|page",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class _Candidate:
    """A URL that may be an image's. `doubts` are reasons against it: the smallest is the best."""

    url: str
    doubts: tuple[bool, bool, bool]


def find_images(output: object, *, http_allowed: bool) -> list[str]:
    """Return the URLs of the images in an output, in its order. An image that is in the output
    itself is a data: URI, and known to be an image.

    If keys or suffixes tell which of several URLs are the images, only these are returned.
    """
    found: dict[str, _Candidate] = {}
    for index, (keys, text) in enumerate(_texts(output)):
        if index == MOST_ITEMS:
            break
        if candidate := _candidate(keys, text, http_allowed=http_allowed):
            found.setdefault(candidate.url, candidate)
    least = min((candidate.doubts for candidate in found.values()), default=None)
    return [candidate.url for candidate in found.values() if candidate.doubts == least]


def is_empty(output: object, depth: int = 0) -> bool:
    """Return whether there is nothing in an output: no text, no number, no flag."""
    match output:
        case list() | dict() if depth <= DEEPEST:
            items = output.values() if isinstance(output, dict) else output
            return all(is_empty(item, depth + 1) for item in items)
        case _:
            return output is None or output == ""


def image_in(data_uri: str) -> bytes | None:
    """Return the image in a data: URI of base64; None if there is none."""
    head, _, body = data_uri.partition(",")
    if not head.lower().endswith(";base64"):
        return None
    try:
        image = base64.b64decode(unquote(body))
    except (binascii.Error, ValueError):
        return None
    return image if format_of(image) else None


def _texts(value: object, keys: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """Yield each text in an output, with the keys that lead to it."""
    if depth > DEEPEST:
        return
    match value:
        case str():
            yield keys, value.strip()
        case list():
            for item in value:
                yield from _texts(item, keys, depth + 1)
        case dict():
            for key, item in value.items():
                yield from _texts(item, f"{keys} {key}", depth + 1)


def _candidate(keys: str, text: str, *, http_allowed: bool) -> _Candidate | None:
    is_other, is_image = bool(OTHER_KEYS.search(keys)), bool(IMAGE_KEYS.search(keys))
    if text[: len(DATA)].lower() == DATA:
        text = DATA + text[len(DATA) :]
        return _Candidate(text, (is_other, False, not is_image)) if image_in(text) else None
    if _is_image_in_base64(text):
        return _candidate(keys, f"{DATA};base64,{text}", http_allowed=http_allowed)
    if not _is_url(text, http_allowed=http_allowed):
        return None
    path = urlsplit(text).path
    is_certain = bool(IMAGE_SUFFIX.search(path))
    if OTHER_SUFFIX.search(path) or (is_other and not is_certain):
        return None
    return _Candidate(text, (is_other, not is_certain, not is_image))


def _is_image_in_base64(text: str) -> bool:
    if len(text) < FIRST_CHARACTERS:
        return False
    try:
        base64.b64decode(text[:FIRST_CHARACTERS], validate=True)
        plain = "".join(text[:FORMAT_CHARACTERS].split())  # it may have lines
        first = base64.b64decode(plain[: len(plain) // 4 * 4])
    except (binascii.Error, ValueError):
        return False
    return format_of(first) is not None


def _is_url(url: str, *, http_allowed: bool) -> bool:
    schemes = {"https", "http"} if http_allowed else {"https"}
    if len(url) > LONGEST_URL or not re.fullmatch(r"[!-~]+", url):
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if parts.scheme not in schemes or not parts.hostname:
        return False
    try:
        parts.hostname.encode("idna")
    except UnicodeError:  # no name that could be looked up
        return False
    return True
