"""Signs of life for what takes long, on standard error: the output stays clean."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

import click

LONG_SECONDS = 2.0
WAITING = "imagegen: waiting for an answer"

T = TypeVar("T")


@contextmanager
def waiting() -> Iterator[None]:
    """A line on the terminal as soon as an answer takes long, gone when it is there."""
    if not sys.stderr.isatty():
        yield
        return
    shown = threading.Event()

    def show() -> None:
        shown.set()
        click.echo(WAITING, nl=False, err=True)

    timer = threading.Timer(LONG_SECONDS, show)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        if shown.is_set():
            click.echo(f"\r{' ' * len(WAITING)}\r", nl=False, err=True)


def shown(steps: Iterator[T], total: int, size: Callable[[T], int]) -> Iterator[T]:
    """The same steps, with a bar as soon as they take long; `size` is a step's part of `total`."""
    began = time.monotonic()
    done, bar = 0, None
    with ExitStack() as first, ExitStack() as stack:
        first.enter_context(waiting())
        for step in steps:
            first.close()
            done += size(step)
            if bar is None and time.monotonic() - began > LONG_SECONDS:
                bar = stack.enter_context(
                    click.progressbar(length=total, label="Tokens", file=sys.stderr)
                )
            if bar is not None:
                bar.update(done - bar.pos)
            yield step
