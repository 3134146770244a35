"""Copies of the images: Replicate deletes its own after an hour."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from imagegen.config import S3Location
from imagegen.image_formats import FIRST_BYTES, format_of
from imagegen.replicate import (
    DATA,
    Deadline,
    TooLongError,
    chunks,
    image_in,
    tls_context,
)
from imagegen.worker import s3_store
from imagegen.worker.copy_stores import CopyError, FolderStore, Written
from imagegen.worker.s3_store import S3Store

# Ten times the largest image of a model.
LARGEST_BYTES = 50 * 1024 * 1024
DOWNLOAD_SECONDS = 60.0
TIMEOUT = httpx.Timeout(connect=5.0, read=15.0, write=10.0, pool=5.0)
# Images that a worker copies at once: a few use a network link as well as many, with less disk.
AT_ONCE = 3
# How long a slot waits for its turn, in each of its tries.
TURN_SECONDS = 30.0
LONGEST_SECONDS = TURN_SECONDS + DOWNLOAD_SECONDS + s3_store.LONGEST_SECONDS
LOST = {httpx.codes.NOT_FOUND, httpx.codes.GONE}
# An answer that is not compressed cannot grow in memory.
HEADERS = {"Accept-Encoding": "identity"}
NO_IMAGE = "not a PNG, JPEG, WebP, GIF, AVIF or SVG image"


@dataclass(frozen=True)
class Copy:
    """An image that is kept: where, and its SHA-256 in hex digits."""

    path: str
    sha256: str


class ImageCopies:
    """Copies images to a folder or a bucket, a few at a time, each through a file on disk.

    Its client has no API token, so that the host of an image gets none.
    """

    def __init__(self, target: Path | S3Location) -> None:
        self._store = S3Store(target) if isinstance(target, S3Location) else FolderStore(target)
        self._turns = threading.BoundedSemaphore(AT_ONCE)
        self._deadline = Deadline()
        transport = self._deadline.transport(tls_context())
        self._http = httpx.Client(timeout=TIMEOUT, transport=transport, follow_redirects=False)

    def close(self) -> None:
        self._http.close()

    def keep(self, url: str, name: str) -> Copy:
        """Keep the image of an https: or data: URL as `name`, with its format's suffix. Raises
        CopyError."""
        if not self._turns.acquire(timeout=TURN_SECONDS):
            raise CopyError(f"{AT_ONCE} other images were copied for {TURN_SECONDS:.0f} s")
        try:
            return self._keep(url, name)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            raise CopyError(f"{type(error).__name__}: {error}") from None
        finally:
            self._turns.release()

    def _keep(self, url: str, name: str) -> Copy:
        self._store.check()
        with self._store.new_file() as file:
            size, start, sha256 = 0, b"", hashlib.sha256()
            for chunk in self._image(url):
                file.write(chunk)
                sha256.update(chunk)
                size += len(chunk)
                start += chunk[: FIRST_BYTES - len(start)]
            if (kind := format_of(start)) is None:
                raise CopyError(NO_IMAGE)
            written = Written(size, sha256.digest(), kind.media_type)
            path = self._store.keep(file, f"{name}.{kind.suffix}", written)
        return Copy(path, sha256.hexdigest())

    def _image(self, url: str) -> Iterator[bytes]:
        if url.startswith(DATA):
            yield image_in(url) or b""
            return
        self._deadline.start(DOWNLOAD_SECONDS)
        with self._http.stream("GET", url, headers=HEADERS) as response:
            if response.status_code != httpx.codes.OK:
                status = response.status_code
                raise CopyError(f"HTTP {status}", is_lost=status in LOST)
            try:
                yield from chunks(response, LARGEST_BYTES)
            except TooLongError as error:
                raise CopyError(str(error)) from None
