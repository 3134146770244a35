"""The latest images as a wall, and one of them large."""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from imagegen.config import LOOPBACK
from imagegen.web.formatting import ago, clock, duration, moment, text
from imagegen.web.snapshot import PICTURES, PROMPT_CHARACTERS, Details, Picture

# Replicate deletes its images then.
KEPT_SECONDS = 3600.0
HOST = re.compile(r"[a-z0-9.-]+", re.IGNORECASE)
# The page that comes anew by itself, and the one that does not.
HOME = "/"
PAUSED = "/?paused"
GONE = "This image is gone: Replicate deletes its own after an hour; no copy was kept."


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


def wall(pictures: list[Picture], *, copies: bool, home: str) -> str:
    """Those that are still there as tiles, and the others as a list of their prompts."""
    if not pictures:
        return (
            '<p class="empty">No image yet. The first one will be here as soon as it is made.</p>'
        )
    sources = [(picture, source(picture, copies=copies)) for picture in pictures]
    tiles = "\n".join(_tile(picture, url, home) for picture, url in sources if url)
    shown = f'<ul class="wall">\n{tiles}\n</ul>' if tiles else ""
    return shown + _gone([picture for picture, url in sources if not url], home, copies=copies)


def wall_title(pictures: list[Picture]) -> str:
    return "Latest images" if len(pictures) < PICTURES else f"The latest {PICTURES} images"


def _tile(picture: Picture, url: str, home: str) -> str:
    return (
        f'<li><a href="{_href(picture.generation_id, home)}">'
        f'<img class="tile" src="{text(url)}" alt="" loading="lazy" decoding="async"'
        ' width="256" height="256">'
        f'<span class="who">{_token(picture)} {_made(picture)}</span> {_prompt(picture)}</a></li>'
    )


def _gone(pictures: list[Picture], home: str, *, copies: bool) -> str:
    """Images that Replicate has deleted, in as little room as there is to say about them."""
    if not pictures:
        return ""
    lines = "\n".join(
        f'<li><a href="{_href(picture.generation_id, home)}">'
        f"{_token(picture)} {_prompt(picture)} {_made(picture)}</a></li>"
        for picture in pictures
    )
    are = "1 image is" if len(pictures) == 1 else f"{len(pictures)} images are"
    why = "no copy was kept" if copies else "set IMAGEGEN_KEEP_IMAGES to keep a copy of each"
    return (
        f'<p class="more">{are} gone: Replicate deletes its own after an hour; {why}.</p>'
        f'\n<ul class="gone">\n{lines}\n</ul>'
    )


def _href(generation_id: int, home: str) -> str:
    return f"{home}&amp;image={generation_id}" if "?" in home else f"{home}?image={generation_id}"


def _token(picture: Picture) -> str:
    return f"<span>#{picture.token_id}</span>"


def _made(picture: Picture) -> str:
    return moment(picture.closed_at, ago(picture.age_seconds).removesuffix(" ago"))


def _prompt(picture: Picture) -> str:
    """It runs in its own direction, which only a word of ours with another one does not decide."""
    fallback = '<i dir="ltr">fallback:</i> ' if picture.fallback else ""
    prompt = text(picture.prompt, PROMPT_CHARACTERS)
    return f'<span class="prompt" dir="auto">{fallback}{prompt}</span>'


def large(details: Details, *, copies: bool, home: str) -> str:
    """One image with all that is told of it."""
    picture = details.picture
    url = source(picture, copies=copies)
    shown = f'<p class="lost">{text(GONE)}</p>'
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
        _link(details.newer, "next", "← Newer", home),
        f'<a href="{home}">All images</a>',
        _link(details.older, "prev", "Older →", home),
    ]
    return f"""<nav class="around" aria-label="Images">{"".join(links)}</nav>
<figure class="large">{shown}
<figcaption><p class="prompt" dir="auto">{prompt}</p>
<dl class="facts">{rows}</dl></figcaption></figure>"""


def _link(generation_id: int | None, rel: str, words: str, home: str) -> str:
    if generation_id is None:
        return f'<span class="none">{words}</span>'
    return f'<a rel="{rel}" href="{_href(generation_id, home)}">{words}</a>'
