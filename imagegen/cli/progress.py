"""Lines and bars that show that a command is at work: on standard error, not in the output."""

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TypeVar

import click

from imagegen.cli.output import cut, text_width

LONG_SECONDS = 2.0
WAITING = "imagegen: waiting for an answer"

T = TypeVar("T")


class TransientLine:
    """A line on the terminal that the next one replaces. Without a terminal nothing is shown."""

    def __init__(self) -> None:
        self._width = 0

    def show(self, text: str) -> None:
        """Show the text, cut to the terminal's width: a line that wraps cannot be cleared."""
        if not sys.stderr.isatty():
            return
        self.clear()
        line = cut(text, max(_terminal_width() - 1, 1))
        self._width = text_width(line)
        click.echo(line, nl=False, err=True)

    def clear(self) -> None:
        if self._width:
            click.echo(f"\r{' ' * self._width}\r", nl=False, err=True)
        self._width = 0


def _terminal_width() -> int:
    """Return the columns of standard error's terminal: the output may go elsewhere."""
    columns = 0
    with suppress(OSError, ValueError):
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
    return shutil.get_terminal_size((columns or 80, 24)).columns


@contextmanager
def waiting() -> Iterator[None]:
    """Show a line while the body runs, if it takes long."""
    if not sys.stderr.isatty():
        yield
        return
    line = TransientLine()
    timer = threading.Timer(LONG_SECONDS, line.show, [WAITING])
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        line.clear()


def with_bar(
    steps: Iterator[T], total: int, size: Callable[[T], int], *, label: str = "Tokens"
) -> Iterator[T]:
    """Yield the steps, and show a bar if they take long. `size` is a step's part of `total`."""
    started = time.monotonic()
    done, bar = 0, None
    with ExitStack() as first, ExitStack() as stack:
        first.enter_context(waiting())
        for step in steps:
            first.close()
            done += size(step)
            if bar is None and time.monotonic() - started > LONG_SECONDS:
                bar = stack.enter_context(
                    click.progressbar(length=total, label=label, file=sys.stderr)
                )
            if bar is not None:
                bar.update(done - bar.pos)
            yield step
