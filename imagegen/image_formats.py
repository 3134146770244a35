"""The format of an image by its first bytes; names and headers may be wrong."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Format:
    suffix: str
    media_type: str


PNG = Format("png", "image/png")
JPEG = Format("jpg", "image/jpeg")
GIF = Format("gif", "image/gif")
WEBP = Format("webp", "image/webp")
AVIF = Format("avif", "image/avif")


def format_of(image: bytes) -> Format | None:
    """Return the format, or None if it is none of these."""
    match image[:12]:
        case start if start.startswith(b"\x89PNG\r\n\x1a\n"):
            return PNG
        case start if start.startswith(b"\xff\xd8\xff"):
            return JPEG
        case start if start.startswith((b"GIF87a", b"GIF89a")):
            return GIF
        case start if start[:4] == b"RIFF" and start[8:] == b"WEBP":
            return WEBP
        case start if start[4:12] in (b"ftypavif", b"ftypavis"):
            return AVIF
    return None
