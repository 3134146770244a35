"""The contact sheet: one HTML file with every image of a demo, and why some are missing."""

import base64
from collections.abc import Iterable
from importlib.resources import files

from mako.template import Template  # type: ignore[import-untyped]

from imagegen.demo.demo import Result
from imagegen.image_formats import format_of
from imagegen.web import STYLE, STYLE_HASH

PROMPT_CHARACTERS = 160


def contact_sheet(results: Iterable[tuple[Result, bytes | None]]) -> str:
    """Return the page as HTML, with a card for each result and its image.

    The template escapes every expression, unless it is marked with `| n`.
    """
    cards = [(result, *_image_or_gap(result, image)) for result, image in results]
    template = Template(  # noqa: S702 (text escapes)
        files("imagegen.demo").joinpath("contact_sheet.mako").read_text(encoding="utf-8"),
        default_filters=["text"],
        imports=["from imagegen.web import text"],
    )
    return str(
        template.render(
            cards=cards,
            images=sum(url is not None for _, url, _ in cards),
            prompt_characters=PROMPT_CHARACTERS,
            beginning=_beginning,
            remark=remark,
            style=STYLE,
            style_hash=STYLE_HASH,
        )
    )


def _image_or_gap(result: Result, image: bytes | None) -> tuple[str | None, str]:
    """Return a data URL, which needs no escaping, or None and why there is no image."""
    if image is None:
        return None, result.error or "the image could not be fetched"
    if kind := format_of(image):
        return f"data:{kind.media_type};base64,{base64.b64encode(image).decode()}", ""
    return None, "its URL led to no image"


def _beginning(prompt: str) -> str:
    if len(prompt) <= PROMPT_CHARACTERS:
        return prompt
    return f"{prompt[:PROMPT_CHARACTERS]}… ({len(prompt)} characters)"


def remark(result: Result) -> str:
    """Return what was unusual on the way to an image; empty if nothing was."""
    if result.status != "uploading":
        return ""
    if result.prompts_sent and result.prompts_sent[0] != result.prompts_sent[-1]:
        return "censored; the fallback prompt was used"
    if result.attempts > 1:
        return f"attempt {result.attempts}, after {result.attempts - 1} that failed"
    return ""
