"""The contact sheet: one HTML file that holds every image of a demo, and why some are missing."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files

from mako.template import Template  # type: ignore[import-untyped]

from imagegen.demo.demo import Result
from imagegen.image_formats import format_of
from imagegen.text import shorten
from imagegen.web import STYLE, STYLE_HASH

PROMPT_CHARACTERS = 160


@dataclass(frozen=True)
class Card:
    """What the sheet shows of a token."""

    token_id: int
    author: str
    seconds: str
    prompt: str
    alt: str
    image_url: str | None  # a data URL, which needs no escaping
    gap: str  # why there is no image
    remark: str


def contact_sheet(results: Iterable[tuple[Result, bytes | None]]) -> str:
    """The page, from each result and its image. Prompts and errors are text, never markup."""
    cards = [_card(result, image) for result, image in results]
    images = sum(card.image_url is not None for card in cards)
    page = _template("contact_sheet.mako").render(
        cards=cards, images=images, style=STYLE, style_hash=STYLE_HASH
    )
    return str(page)


def _template(name: str) -> Template:
    """Load a template that escapes every expression, unless it is marked with `| n`."""
    source = files("imagegen.demo").joinpath(name).read_text(encoding="utf-8")
    imports = ["from imagegen.web import text"]
    return Template(source, default_filters=["text"], imports=imports)  # noqa: S702 (text escapes)


def _card(result: Result, image: bytes | None) -> Card:
    whole = prompt = result.token.prompt
    if len(whole) > PROMPT_CHARACTERS:
        prompt = f"{whole[:PROMPT_CHARACTERS]}… ({len(whole)} characters)"
    image_url, gap = None, "its URL led to no image"
    if image is None:
        gap = result.error or "the image could not be fetched"
    elif kind := format_of(image):
        image_url = f"data:{kind.media_type};base64,{base64.b64encode(image).decode()}"
    return Card(
        token_id=result.token_id,
        author=result.token.author,
        seconds=f"{result.seconds:.1f}",
        prompt=prompt,
        alt=shorten(" ".join(whole.split()), PROMPT_CHARACTERS),
        image_url=image_url,
        gap=gap,
        remark=remark(result),
    )


def remark(result: Result) -> str:
    """What was out of the ordinary on the way to an image; empty if nothing was."""
    if result.status != "uploading":
        return ""
    if result.prompts_sent and result.prompts_sent[0] != result.prompts_sent[-1]:
        return "censored; the fallback prompt was used"
    if result.attempts > 1:
        return f"attempt {result.attempts}, after {result.attempts - 1} that failed"
    return ""
