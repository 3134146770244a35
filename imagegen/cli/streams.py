"""The standard streams, which may be closed, full, or of an encoding that lacks characters."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class OutputError(Exception):
    """Standard output cannot be written; the message says why."""


class _Stdout(io.FileIO):
    """Standard output, whose errors cannot be taken for those of other files."""

    def write(self, data: Any, /) -> int | None:  # type: ignore[override]
        try:
            return super().write(data)
        except OSError as error:
            # Python writes what is still in the buffer once more at its end, and would complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            # A reader that has left, as `head` does, is for click, which ends in silence.
            if isinstance(error, BrokenPipeError):
                raise
            raise OutputError(error.strerror) from None


@contextmanager
def guarded_stdio() -> Iterator[None]:
    """Make the standard streams usable; output that fails is one line and exit code 1."""
    _open_closed()
    file = _Stdout(sys.stdout.fileno(), "w", closefd=False)
    # Latin-1 lacks the ellipsis of our helps. Standard error escapes what it lacks by itself.
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(file), sys.stdout.encoding, "replace", line_buffering=file.isatty()
    )
    try:
        yield
    except OutputError as error:
        print(f"imagegen: cannot write the output: {error}", file=sys.stderr)  # noqa: T201
        raise SystemExit(1) from None


def is_dumb() -> bool:
    """Whether the terminal says that it obeys no escape sequences, and prints them."""
    return os.environ.get("TERM") == "dumb"


def _open_closed() -> None:
    """Open the streams that were closed, as by `>&-`: Python has None in their place."""
    for name, mode, flags in (
        ("stdin", "r", os.O_RDONLY),
        ("stdout", "w", os.O_RDONLY),  # writing fails, and is reported like a full disk
        ("stderr", "w", os.O_WRONLY),
    ):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, flags), mode))
