"""Copies of the images on disk: Replicate deletes its own after an hour."""

import hashlib
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from imagegen.image_formats import format_of
from imagegen.replicate import (
    DATA,
    Deadline,
    TooLongError,
    image_in,
    read_capped,
    tls_context,
)

# Ten times what the largest model makes.
LARGEST_BYTES = 50 * 1024 * 1024
DOWNLOAD_SECONDS = 60.0
TIMEOUT = httpx.Timeout(connect=5.0, read=15.0, write=10.0, pool=5.0)
# A file of this name is a download under way, or one that was killed.
PARTIAL = ".imagegen-"
STALE_SECONDS = 3600.0
NO_IMAGE = "no image: it begins like no PNG, JPEG, WebP, GIF or AVIF"


@dataclass(frozen=True)
class Copy:
    """An image on disk."""

    path: str
    sha256: str


class CopyError(Exception):
    """There is no copy; the message says why."""


class ImageCopies:
    """Copies images into one folder. A file gets its name only when it is whole and on the disk.

    Its client has no API token, so that the host of an image gets none.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._deadline = Deadline()
        transport = self._deadline.transport(tls_context())
        self._http = httpx.Client(timeout=TIMEOUT, transport=transport, follow_redirects=False)
        self._remove_stale()

    def close(self) -> None:
        self._http.close()

    def keep(self, url: str, name: str) -> Copy:
        """Write an image as `name` with its format's suffix: downloaded, or that of a data: URI.
        Raises CopyError."""
        partial = None
        try:
            with tempfile.NamedTemporaryFile(
                dir=self._folder, prefix=PARTIAL, delete=False
            ) as file:
                partial = Path(file.name)
                image = (image_in(url) or b"") if url.startswith(DATA) else self._download(url)
                if (kind := format_of(image)) is None:
                    raise CopyError(NO_IMAGE)
                file.write(image)
                file.flush()
                os.fsync(file.fileno())
            path = self._folder / f"{name}.{kind.suffix}"
            partial.chmod(0o644)
            partial.rename(path)
            self._sync_folder()
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            raise CopyError(f"{type(error).__name__}: {error}") from None
        finally:
            if partial is not None:
                partial.unlink(missing_ok=True)
        return Copy(str(path), hashlib.sha256(image).hexdigest())

    def _download(self, url: str) -> bytes:
        self._deadline.start(DOWNLOAD_SECONDS)
        with self._http.stream("GET", url) as response:
            if response.status_code != httpx.codes.OK:
                raise CopyError(f"HTTP {response.status_code}")
            try:
                return read_capped(response, LARGEST_BYTES)
            except TooLongError as error:
                raise CopyError(str(error)) from None

    def _sync_folder(self) -> None:
        """Write the folder too: else the new name does not survive a power cut."""
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _remove_stale(self) -> None:
        for partial in self._folder.glob(f"{PARTIAL}*"):
            try:
                if time.time() - partial.stat().st_mtime > STALE_SECONDS:
                    partial.unlink()
            except OSError:
                continue  # another worker was faster, or the file is another user's
