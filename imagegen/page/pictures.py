"""The latest images as a wall, and one of them large."""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from imagegen.checks import LOOPBACK
from imagegen.page.data import PICTURES, PROMPT_CHARACTERS, Details, Picture
from imagegen.page.words import ago, clock, duration, moment, text

# Replicate deletes its images then.
KEPT_SECONDS = 3600.0
HOST = re.compile(r"[a-z0-9.-]+", re.IGNORECASE)
EXPIRED = "expired"
EXPIRED_LONG = "This image is gone: Replicate deletes its own after an hour; no copy was kept."


def source(picture: Picture, *, copies: bool) -> str | None:
    """Where a page gets the image from; None where it is gone. `copies`: they are served here."""
    if copies and picture.path:
        return f"/images/{picture.generation_id}"
    return picture.url if picture.age_seconds < KEPT_SECONDS and origin(picture.url) else None


def origin(url: str) -> str | None:
    """The origin of an image at its host; None where no page should load it."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return None
    host = parts.hostname or ""
    if parts.scheme not in ({"https", "http"} if host in LOOPBACK else {"https"}):
        return None
    return f"{parts.scheme}://{host}{port}" if HOST.fullmatch(host) else None


def origins(pictures: Iterable[Picture], *, copies: bool) -> list[str]:
    """All foreign origins of the images shown."""
    sources = (source(picture, copies=copies) for picture in pictures)
    return sorted({found for url in sources if url and (found := origin(url))})


def wall(pictures: list[Picture], *, copies: bool) -> str:
    tiles = "\n".join(_tile(picture, copies=copies) for picture in pictures)
    if not pictures:
        return (
            '<p class="empty">No image yet. The first one will be here as soon as it is made.</p>'
        )
    return f'<ul class="wall">\n{tiles}\n</ul>'


def wall_title(pictures: list[Picture]) -> str:
    return "Latest images" if len(pictures) < PICTURES else f"The latest {PICTURES} images"


def _tile(picture: Picture, *, copies: bool) -> str:
    url = source(picture, copies=copies)
    image = f'<span class="tile">{EXPIRED}</span>'
    if url:
        image = (
            f'<img class="tile" src="{text(url)}" alt="" loading="lazy" decoding="async"'
            ' width="256" height="256">'
        )
    made = ago(picture.age_seconds).removesuffix(" ago")
    fallback = "<i>fallback:</i> " if picture.fallback else ""
    prompt = text(picture.prompt, PROMPT_CHARACTERS)
    return (
        f'<li><a href="/?image={picture.generation_id}">{image}'
        f'<span class="who"><span>#{picture.token_id}</span>'
        f" {moment(picture.closed_at, made)}</span>"
        f' <span class="prompt">{fallback}<bdi>{prompt}</bdi></span></a></li>'
    )


def large(details: Details, *, copies: bool) -> str:
    """One image with all that is told of it."""
    picture = details.picture
    url = source(picture, copies=copies)
    shown = f'<p class="gone">{text(EXPIRED_LONG)}</p>'
    if url:
        shown = f'<a href="{text(url)}"><img src="{text(url)}" alt="The image of this prompt"></a>'
    prompt = text(picture.prompt)
    facts = {
        "Made": moment(
            picture.closed_at, f"{ago(picture.age_seconds)}, {clock(picture.closed_at)} UTC"
        ),
        "Took": duration(details.seconds),
        "Attempt": str(details.attempt),
        "Prompt": "the fallback: the author's own was refused"
        if picture.fallback
        else "the author's",
        "Model": text(details.model),
        "Seed": str(details.seed),
        "Prediction": text(details.prediction_id or "unknown"),
        "Generation": str(picture.generation_id),
    }
    rows = "".join(f"<div><dt>{name}</dt><dd>{fact}</dd></div>" for name, fact in facts.items())
    links = [
        _link(details.newer, "next", "← Newer"),
        '<a href="/">All images</a>',
        _link(details.older, "prev", "Older →"),
    ]
    return f"""<nav class="around" aria-label="Images">{"".join(links)}</nav>
<figure class="large">{shown}
<figcaption><p class="prompt" dir="auto">{prompt}</p>
<dl class="facts">{rows}</dl></figcaption></figure>"""


def _link(generation_id: int | None, rel: str, words: str) -> str:
    if generation_id is None:
        return f'<span class="none">{words}</span>'
    return f'<a rel="{rel}" href="/?image={generation_id}">{words}</a>'
