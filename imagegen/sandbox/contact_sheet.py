"""The contact sheet: one HTML file that holds every image of a demo, and why some are missing."""

import base64
from collections.abc import Iterable
from html import escape
from string import Template

from imagegen.sandbox.demo import Ending

MEDIA_TYPES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}

PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>imagegen: contact sheet</title>
<style>
  :root { color-scheme: light dark; --paper: #f6f4ef; --card: #fff; --ink: #22201c;
    --soft: #6b665d; --line: #ddd8cd; --bad: #a3341f; --odd: #8a5a00; }
  @media (prefers-color-scheme: dark) { :root { --paper: #17161a; --card: #212026; --ink: #eceaf0;
    --soft: #a5a1ad; --line: #37353d; --bad: #ff9c85; --odd: #f0c060; } }
  body { margin: 0 auto; max-width: 78rem; padding: 2rem 1.25rem; background: var(--paper);
    color: var(--ink); font: 1rem/1.45 system-ui, sans-serif; }
  h1 { margin: 0; font-size: 1.6rem; font-weight: 650; letter-spacing: -.01em; }
  header p { margin: .3rem 0 1.6rem; color: var(--soft); }
  main { display: grid; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); gap: 1rem; }
  figure { margin: 0; background: var(--card); border: 1px solid var(--line);
    border-radius: .6rem; overflow: hidden; }
  img, .missing { display: block; width: 100%; aspect-ratio: 1; }
  .missing { display: grid; place-items: center; box-sizing: border-box; padding: 1.25rem;
    text-align: center; color: var(--bad); overflow-wrap: anywhere; }
  figcaption { padding: .7rem .85rem .85rem; font-size: .9rem; overflow-wrap: anywhere; }
  .who { display: flex; justify-content: space-between; gap: .5rem; font-size: .8rem;
    color: var(--soft); font-variant-numeric: tabular-nums; }
  .note { color: var(--odd); font-size: .8rem; }
</style>
<header><h1>Contact sheet</h1><p>$summary</p></header>
<main>
$cards
</main>
</html>
""")

CARD = Template("""<figure>$picture
<figcaption><div class="who"><span>#$token_id · $author</span><span>$seconds s</span></div>
$prompt$note</figcaption></figure>""")

PROMPT_CHARACTERS = 160


def contact_sheet(endings: Iterable[tuple[Ending, bytes | None]]) -> str:
    """The page, from each ending and its image. Prompts and errors are text, never markup."""
    cards = [_card(ending, image) for ending, image in endings]
    images = sum('<img src="data:' in card for card in cards)
    summary = f"{len(cards)} tokens, {images} images, {len(cards) - images} without"
    return PAGE.substitute(summary=summary, cards="\n".join(cards))


def _card(ending: Ending, image: bytes | None) -> str:
    prompt = ending.role.prompt
    if len(prompt) > PROMPT_CHARACTERS:
        prompt = f"{prompt[:PROMPT_CHARACTERS]}… ({len(prompt)} characters)"
    note = story(ending)
    return CARD.substitute(
        picture=_picture(ending, image),
        token_id=ending.token_id,
        author=escape(ending.role.author),
        seconds=f"{ending.seconds:.1f}",
        prompt=escape(prompt),
        note=f'<div class="note">{escape(note)}</div>' if note else "",
    )


def _picture(ending: Ending, image: bytes | None) -> str:
    if image is None:
        reason = ending.error or "the image could not be fetched"
        return f'<div class="missing">{escape(reason)}</div>'
    kinds = (kind for magic, kind in MEDIA_TYPES.items() if image.startswith(magic))
    encoded = base64.b64encode(image).decode()
    alt = escape(ending.role.prompt[:PROMPT_CHARACTERS], quote=True)
    return f'<img src="data:{next(kinds, "image/png")};base64,{encoded}" alt="{alt}">'


def story(ending: Ending) -> str:
    """What was out of the ordinary on the way to an image, in words."""
    if ending.status != "uploading":
        return ""
    if ending.prompts_sent and ending.prompts_sent[0] != ending.prompts_sent[-1]:
        return "refused for its content; the fallback prompt was used"
    if ending.attempts > 1:
        return f"attempt {ending.attempts}, after {ending.attempts - 1} that failed"
    return ""
