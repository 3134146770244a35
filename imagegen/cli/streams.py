"""The standard streams as they may be: closed, full, or of an encoding that lacks characters."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class OutputError(Exception):
    """Standard output takes no more; the message says why."""


class _Output(io.TextIOWrapper):
    """Standard output, whose errors are told from all others."""

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
        # What is left in its buffer goes nowhere, or Python would complain of it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
        # A reader who left, as `head` does, is for click, which ends in silence.
        return error if isinstance(error, BrokenPipeError) else OutputError(error.strerror)


@contextmanager
def usable() -> Iterator[None]:
    """Standard streams that can be used; output that fails is one line and exit code 1."""
    _open_closed()
    file = io.FileIO(sys.stdout.fileno(), "w", closefd=False)
    # Latin-1 lacks the ellipsis of our helps. Standard error escapes by itself what it lacks.
    sys.stdout = _Output(
        io.BufferedWriter(file), sys.stdout.encoding, "replace", line_buffering=file.isatty()
    )
    try:
        yield
    except OutputError as error:
        print(f"imagegen: cannot write the output: {error}", file=sys.stderr)  # noqa: T201
        raise SystemExit(1) from None


def _open_closed() -> None:
    """Python has None in place of a stream that was closed, as by `>&-`."""
    for name, mode, flags in (
        ("stdin", "r", os.O_RDONLY),
        ("stdout", "w", os.O_RDONLY),  # nothing can be written there: told like a full disk
        ("stderr", "w", os.O_WRONLY),
    ):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, flags), mode))
