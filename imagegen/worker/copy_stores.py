"""Keeps the copies of images in a folder of this host. `s3_store` has the same methods."""

import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

# A file of this name is a download under way, or one that was killed.
PARTIAL = ".imagegen-"
STALE_SECONDS = 3600.0
DIGITS = 16  # of a SHA-256, to distinguish two images of one name


@dataclass(frozen=True)
class Written:
    """An image in a file that has no name yet."""

    size: int
    sha256: bytes
    media_type: str


class CopyError(Exception):
    """The copy failed; the message says why. `is_lost`: the image is not at its host any more."""

    def __init__(self, message: str, *, is_lost: bool = False) -> None:
        super().__init__(message)
        self.is_lost = is_lost


def name_apart(name: str, written: Written) -> str:
    """Return another name for an image whose name is taken. An earlier state of the database may
    have given the same name to another image, whose URL may have been handed on."""
    path = PurePosixPath(name)
    return f"{path.stem}-{written.sha256.hex()[:DIGITS]}{path.suffix}"


class FolderStore:
    """Keeps images in one folder. A file gets its name when it is complete and on the disk. Its
    methods raise OSError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._remove_stale()

    def check(self) -> None:
        """Do nothing: `new_file` notices a missing folder, before anything is downloaded."""

    @contextmanager
    def new_file(self) -> Iterator[IO[bytes]]:
        """Make a file, which is removed at the end unless it was kept."""
        with tempfile.NamedTemporaryFile(dir=self._folder, prefix=PARTIAL, delete=False) as file:
            try:
                yield file
            finally:
                Path(file.name).unlink(missing_ok=True)

    def keep(self, file: IO[bytes], name: str, written: Written) -> str:
        """Give a file its name, when it is on the disk; return its path."""
        file.flush()
        os.fsync(file.fileno())
        partial, path = Path(file.name), self._folder / name
        if _is_another_image(path, written):
            path = path.with_name(name_apart(name, written))
        partial.chmod(0o644)
        partial.rename(path)
        self._sync_folder()
        return str(path)

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


def _is_another_image(path: Path, written: Written) -> bool:
    """Return whether there is a file of this name with another content."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest() != written.sha256
    except OSError:
        return False  # there is none, or none that can be read
