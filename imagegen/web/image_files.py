"""Serves the kept copies of images by their names, and nothing outside their folder."""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO
from wsgiref.types import StartResponse, WSGIEnvironment
from wsgiref.util import FileWrapper

from imagegen.image_formats import FIRST_BYTES, format_of
from imagegen.logs import log

PREFIX = "/images/"
TEXT = "text/plain; charset=utf-8"
BLOCK_BYTES = 64 * 1024
# For a year: an image never changes under its name.
CACHING = "public, max-age=31536000, immutable"
# An SVG may hold a script, which must not run in a browser that opens it.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"


@dataclass(frozen=True)
class ImageFile:
    """An open image, to be read from its beginning."""

    file: BinaryIO
    size: int
    media_type: str


def open_image(folder: Path, name: str) -> ImageFile | None:
    """Open an image of the folder; None if it is not there, or is no image.

    No name leads out of the folder, and no link is followed. A file whose name begins with a dot is
    still being written, and counts as not there.
    """
    if not name or name.startswith(".") or "/" in name or "\0" in name:
        return None
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe would block
    try:
        file = os.fdopen(os.open(folder / name, flags), "rb")
    except (OSError, UnicodeError):
        return None
    try:
        status = os.fstat(file.fileno())
        kind = format_of(file.read(FIRST_BYTES)) if stat.S_ISREG(status.st_mode) else None
        file.seek(0)
    except OSError:
        kind = None
    if kind is None:
        file.close()
        return None
    return ImageFile(file, status.st_size, kind.media_type)


class ImagesApp:
    """The WSGI application of the images' own port: /images/NAME, without a password.

    It shows no prompt and does not ask the database.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        if method not in {"GET", "HEAD"}:
            return _refuse(start_response, HTTPStatus.METHOD_NOT_ALLOWED, ("Allow", "GET, HEAD"))
        try:
            image = self._open(environ["PATH_INFO"])
        except Exception:  # noqa: BLE001 (a request's outermost handler)
            log.warning("exporter.request.failed", exc_info=True)
            return _refuse(start_response, HTTPStatus.INTERNAL_SERVER_ERROR)
        if image is None:
            return _refuse(start_response, HTTPStatus.NOT_FOUND)
        headers = {
            "Server": "imagegen",
            "Content-Type": image.media_type,
            "Content-Length": str(image.size),
            "Cache-Control": CACHING,
            "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff",
        }
        start_response("200 OK", [*headers.items()])
        if method == "HEAD":
            image.file.close()
            return []
        return FileWrapper(image.file, BLOCK_BYTES)

    def _open(self, path: str) -> ImageFile | None:
        if not path.startswith(PREFIX):
            return None
        return open_image(self._folder, path.removeprefix(PREFIX))


def _refuse(
    start_response: StartResponse, status: HTTPStatus, *headers: tuple[str, str]
) -> list[bytes]:
    body = f"{status.phrase}\n".encode()
    general = [("Server", "imagegen"), ("Content-Type", TEXT), ("Content-Length", str(len(body)))]
    start_response(f"{status.value} {status.phrase}", [*general, *headers])
    return [body]
