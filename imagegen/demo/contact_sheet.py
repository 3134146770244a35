"""The contact sheet: one HTML file that holds every image of a demo, and why some are missing."""

import base64
from collections.abc import Iterable
from string import Template

from imagegen.demo.demo import Result
from imagegen.image_formats import format_of
from imagegen.web import STYLE, STYLE_HASH, text

PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src '$style_hash'">
<title>imagegen: contact sheet</title>
<style>$style</style>
<header><h1>Contact sheet</h1><p>$summary</p></header>
<main><ul class="wall sheet">
$cards
</ul></main>
</html>
""")

CARD = Template("""<li>$picture
<p class="who"><span>#$token_id · $author</span><span>$seconds s</span></p>
<p class="prompt" dir="auto">$prompt</p>$note</li>""")

PROMPT_CHARACTERS = 160


def contact_sheet(results: Iterable[tuple[Result, bytes | None]]) -> str:
    """The page, from each result and its image. Prompts and errors are text, never markup."""
    cards = [_card(result, image) for result, image in results]
    images = sum('src="data:' in card for card in cards)
    summary = f"{len(cards)} tokens, {images} images, {len(cards) - images} without"
    return PAGE.substitute(
        summary=summary, cards="\n".join(cards), style=STYLE, style_hash=STYLE_HASH
    )


def _card(result: Result, image: bytes | None) -> str:
    prompt = result.token.prompt
    if len(prompt) > PROMPT_CHARACTERS:
        prompt = f"{prompt[:PROMPT_CHARACTERS]}… ({len(prompt)} characters)"
    note = remark(result)
    return CARD.substitute(
        picture=_picture(result, image),
        token_id=result.token_id,
        author=text(result.token.author),
        seconds=f"{result.seconds:.1f}",
        prompt=text(prompt),
        note=f'<small class="odd">{text(note)}</small>' if note else "",
    )


def _picture(result: Result, image: bytes | None) -> str:
    if image is None:
        return _gap(result.error or "the image could not be fetched")
    if (kind := format_of(image)) is None:
        return _gap("its URL led to no image")
    encoded = base64.b64encode(image).decode()
    alt = text(result.token.prompt, PROMPT_CHARACTERS)
    return f'<img class="tile" src="data:{kind.media_type};base64,{encoded}" alt="{alt}">'


def _gap(reason: str) -> str:
    return f'<span class="tile">{text(reason)}</span>'


def remark(result: Result) -> str:
    """What was out of the ordinary on the way to an image, in words."""
    if result.status != "uploading":
        return ""
    if result.prompts_sent and result.prompts_sent[0] != result.prompts_sent[-1]:
        return "censored; the fallback prompt was used"
    if result.attempts > 1:
        return f"attempt {result.attempts}, after {result.attempts - 1} that failed"
    return ""
