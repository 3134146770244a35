"""Keeps the copies of images in a bucket of S3, or of a service with its API.

The library is imported only if it is used. Its client is made by the process that uses it: one from
before a fork would share its connections with other processes.
"""

import base64
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from tempfile import TemporaryFile
from typing import IO, Any

from imagegen.config import S3Location, s3_client
from imagegen.worker.copy_stores import CopyError, Written, name_apart

CONNECT_SECONDS, READ_SECONDS = 5.0, 15.0
LONGEST_SECONDS = 2 * (CONNECT_SECONDS + READ_SECONDS)  # of a look and a write without an answer
# After this many failures in a row nothing is sent for a while: many slots would wait for the same
# timeout. Each token is tried several times anyway.
FAILURES_IN_A_ROW = 3
AWAY_SECONDS = 15.0
# For a year: an image never changes under its name.
CACHING = "public, max-age=31536000, immutable"


def import_library() -> None:
    """Import the library, before the fork, so that all processes share it."""
    import boto3  # noqa: F401, PLC0415


class S3Store:
    """Keeps images in a bucket. An object is written once, and compared with what was sent.
    Its methods raise CopyError or OSError."""

    def __init__(self, location: S3Location) -> None:
        self._location = location
        self._lock = threading.Lock()
        self._made: Any = None
        self._failures = 0  # in a row
        self._away_until = 0.0
        self._why = ""

    def check(self) -> None:
        """Raise CopyError while nothing is sent, so that no image is downloaded in vain."""
        with self._lock:
            if time.monotonic() < self._away_until:
                raise CopyError(f"{self._location} has failed several times in a row: {self._why}")

    def new_file(self) -> AbstractContextManager[IO[bytes]]:
        """Make a file without a name, which is removed at the end."""
        return TemporaryFile()

    def keep(self, file: IO[bytes], name: str, written: Written) -> str:
        """Write a file to the bucket, unless it is there already; return its s3: URL."""
        with self._errors_are_counted():
            client = self._client()
            found = self._find(client, name)
            if found is not None and not _is_same(found, written):
                name = name_apart(name, written)
                found = self._find(client, name)
            if found is None:
                found = self._write(client, file, name, written)
            if not _is_same(found, written):
                raise CopyError(f"{self._location.url(name)} differs from the image that was sent")
            return self._location.url(name)

    def _write(self, client: Any, file: IO[bytes], name: str, written: Written) -> dict[str, Any]:
        """Write an object. Return its size and SHA-256, as far as the service says."""
        file.seek(0)
        answer: dict[str, Any] = client.put_object(
            **self._object(name),
            Body=file,
            ContentLength=written.size,
            ContentType=written.media_type,
            CacheControl=CACHING,
            ChecksumSHA256=_base64(written.sha256),
            Metadata={"sha256": written.sha256.hex()},
        )
        sent: dict[str, Any] = {"ContentLength": written.size}
        if answer.get("ChecksumSHA256"):
            return sent | answer
        # Other services with S3's API may know no checksums. A role that may only write cannot ask.
        return self._find(client, name) or sent | {"Metadata": {"sha256": written.sha256.hex()}}

    def _find(self, client: Any, name: str) -> dict[str, Any] | None:
        """Return the size and SHA-256 of an object; None if there is none, or 403 hides it."""
        from botocore.exceptions import ClientError  # noqa: PLC0415

        try:
            found: dict[str, Any] = client.head_object(**self._object(name), ChecksumMode="ENABLED")
        except ClientError as error:
            # A role that may only write gets 403; so does one that may not list, if there is none.
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") in {403, 404}:
                return None
            raise
        return found

    def _object(self, name: str) -> dict[str, str]:
        return {"Bucket": self._location.bucket, "Key": self._location.key(name)}

    def _client(self) -> Any:
        """Return the client of this process. Threads may share one, but not make it together."""
        with self._lock:
            if self._made is None:
                self._made = s3_client(CONNECT_SECONDS, READ_SECONDS)
            return self._made

    @contextmanager
    def _errors_are_counted(self) -> Iterator[None]:
        """Turn the library's errors into CopyError, and note failures in a row."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415
        from botocore.parsers import ResponseParserError  # noqa: PLC0415

        try:
            yield
        except (
            BotoCoreError,
            ClientError,
            ResponseParserError,
            ValueError,  # the endpoint is no URL
            RecursionError,  # the library follows redirects without an end
        ) as error:
            why = f"{type(error).__name__}: {error}"
            with self._lock:
                self._failures, self._why = self._failures + 1, why
                if self._failures >= FAILURES_IN_A_ROW:
                    self._away_until = time.monotonic() + AWAY_SECONDS
            raise CopyError(why) from None
        with self._lock:
            self._failures = 0


def _is_same(found: dict[str, Any], written: Written) -> bool:
    """Return whether an object is the image, by its size and SHA-256."""
    if found.get("ContentLength") != written.size:
        return False
    if checksum := found.get("ChecksumSHA256"):
        return bool(checksum == _base64(written.sha256))
    return bool(found.get("Metadata", {}).get("sha256") == written.sha256.hex())


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
