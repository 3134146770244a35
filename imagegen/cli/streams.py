"""The standard streams: they may be closed or full, or their encoding may lack characters."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class OutputError(Exception):
    """Standard output cannot be written; the message says why."""


class _Stdout(io.TextIOWrapper):
    """Standard output, whose errors differ from those of other files.

    The raw file below stays Python's own: a write in Python could be interrupted after the bytes
    have left, and the buffer would send them again.
    """

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise self._failed(error) from None

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise self._failed(error) from None

    def _failed(self, error: OSError) -> Exception:
        # At exit Python writes the rest of the buffer again, and would print another error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
        # A closed pipe, as by `head`, is handled by click, which exits without a message.
        return error if isinstance(error, BrokenPipeError) else OutputError(error.strerror)


@contextmanager
def guarded_stdio() -> Iterator[None]:
    """Make the standard streams usable. A failed write ends in one line and exit code 1."""
    _open_closed()
    file = io.FileIO(sys.stdout.fileno(), "w", closefd=False)
    # Latin-1 lacks the ellipsis of the help. Standard error escapes such characters by itself.
    sys.stdout = _Stdout(
        io.BufferedWriter(file), sys.stdout.encoding, "replace", line_buffering=file.isatty()
    )
    try:
        yield
    except OutputError as error:
        print(f"imagegen: cannot write the output: {error}", file=sys.stderr)  # noqa: T201
        raise SystemExit(1) from None


def is_dumb() -> bool:
    """Return whether the terminal prints escape sequences instead of obeying them."""
    return os.environ.get("TERM") == "dumb"


def _open_closed() -> None:
    """Open the streams that were closed, as by `>&-`: Python sets them to None."""
    for name, mode, flags in (
        ("stdin", "r", os.O_RDONLY),
        ("stdout", "w", os.O_RDONLY),  # a write fails, and is reported like a full disk
        ("stderr", "w", os.O_WRONLY),
    ):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, flags), mode))
