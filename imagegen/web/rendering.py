"""Pages from templates, and their security headers."""

import base64
import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any

FOLDER = files("imagegen.web")
STYLE = FOLDER.joinpath("page.css").read_text(encoding="utf-8")
STYLE_HASH = "sha256-" + base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
# A refresh moves the keyboard's focus back to the top, so leave time to go through the images.
REFRESH_SECONDS = 30
ICON_PATH = "/favicon.ico"  # where a browser looks by default
# A sun over mountains.
ICON = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">'
    b'<rect width="16" height="16" rx="3" fill="#2f7a6b"/><g fill="#f6f4ef">'
    b'<circle cx="11" cy="5" r="2"/><path d="M2 13l4-7 3 5 2-3 3 5z"/></g></svg>'
)


def render(template: str, **values: Any) -> bytes:
    """Return a page in UTF-8. Its values are escaped, except those marked with `| n`."""
    html: str = _lookup().get_template(template).render_unicode(**values)
    # A lone surrogate cannot be encoded: replace it, and show the rest.
    return html.encode("utf-8", "replace")


def load_templates() -> None:
    """Compile all templates.

    Called before the fork, so that an upgrade of the files does not change the pages of a running
    exporter.
    """
    for file in FOLDER.joinpath("templates").iterdir():
        _lookup().get_template(file.name)


@cache
def _lookup() -> Any:
    """Return the templates, each compiled once and kept in memory."""
    # Not at the top: the demo and the doctor import this package and render no page.
    from mako.lookup import TemplateLookup  # type: ignore[import-untyped]  # noqa: PLC0415

    return TemplateLookup(
        directories=[str(FOLDER.joinpath("templates"))],
        filesystem_checks=False,
        default_filters=["h"],
        strict_undefined=True,
    )


def security_headers(image_origins: Iterable[str]) -> dict[str, str]:
    """Return headers that allow no script or frame, only forms that lead to the page itself, and
    only images of these origins."""
    policy = [
        "default-src 'none'",
        f"style-src '{STYLE_HASH}'",
        " ".join(["img-src 'self'", *image_origins]),
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
    return {
        "Content-Security-Policy": "; ".join(policy),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }
