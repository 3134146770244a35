"""The HTML around what a page shows, and the headers that keep it harmless."""

import base64
import hashlib
from collections.abc import Iterable
from importlib.resources import files

from imagegen.web.formatting import text

STYLE = files("imagegen.web").joinpath("page.css").read_text(encoding="utf-8")
STYLE_HASH = "sha256-" + base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
# Each refresh takes the keyboard's focus back to the top: time enough to walk through the images.
REFRESH_SECONDS = 30
ICON_PATH = "/favicon.ico"  # where a browser looks that was not told
# A sun over mountains.
ICON = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">'
    b'<rect width="16" height="16" rx="3" fill="#2f7a6b"/><g fill="#f6f4ef">'
    b'<circle cx="11" cy="5" r="2"/><path d="M2 13l4-7 3 5 2-3 3 5z"/></g></svg>'
)


def security_headers(image_origins: Iterable[str]) -> dict[str, str]:
    """No script, no form, no frame; images from here and from these origins alone."""
    policy = {
        "default-src": "'none'",
        "style-src": f"'{STYLE_HASH}'",
        "img-src": " ".join(["'self'", *image_origins]),
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }


def document(title: str, header: str, main: str, *, refreshes: bool) -> bytes:
    """A whole page. `title` is text, `header` and `main` are HTML."""
    refresh = f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}">\n' if refreshes else ""
    html = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
{refresh}<title>imagegen: {text(title)}</title>
<link rel="icon" href="{ICON_PATH}" type="image/svg+xml">
<style>{STYLE}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header>
{header}
</header>
<main id="main" tabindex="-1">
{main}
</main>
<footer><p>For machines: <a href="/metrics">/metrics</a> <a href="/healthz">/healthz</a>
<a href="/readyz">/readyz</a></p></footer>
</body>
</html>
"""
    # What is no character at all, a lone surrogate, must not keep the rest from being shown.
    return html.encode("utf-8", "replace")
