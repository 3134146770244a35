"""Where a browser gets the images from, and the paths of the pages that show them."""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from imagegen.config import LOOPBACK
from imagegen.web.snapshot import Picture

# Replicate deletes its images after this time.
RETENTION_SECONDS = 3600.0
# In lower case, as urlsplit returns it. IGNORECASE would let U+017F pass for an s.
HOST = re.compile(r"[a-z0-9.-]+")
# The page that refreshes itself, and the one that does not.
HOME = "/"
PAUSED = "/?paused"


def source(picture: Picture, *, copies: bool) -> str | None:
    """Return the URL of an image; None if it is gone. `copies`: kept copies are served."""
    if copies and picture.path and not picture.path.startswith("s3://"):
        return f"/images/{picture.generation_id}"
    if picture.handed_on_url and origin(picture.handed_on_url):
        return picture.handed_on_url
    is_kept = picture.age_seconds < RETENTION_SECONDS and origin(picture.url)
    return picture.url if is_kept else None


def origin(url: str) -> str | None:
    """Return the origin of an image's URL; None if no page should load it."""
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
    """Return the foreign origins of all images that are shown."""
    sources = (source(picture, copies=copies) for picture in pictures)
    return sorted({found for url in sources if url and (found := origin(url))})


def large(generation_id: int, home: str) -> str:
    """Return the path of the page that shows one image large, and leads back to `home`."""
    return f"{home}{'&' if '?' in home else '?'}image={generation_id}"
