"""A progress bar for what takes long, on standard error: the output stays clean."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TypeVar

import click

BAR_AFTER_SECONDS = 2.0

T = TypeVar("T")


def shown(steps: Iterator[T], total: int, size: Callable[[T], int]) -> Iterator[T]:
    """The same steps, with a bar as soon as they take long; `size` is a step's part of `total`."""
    began = time.monotonic()
    done, bar = 0, None
    with ExitStack() as stack:
        for step in steps:
            done += size(step)
            if bar is None and time.monotonic() - began > BAR_AFTER_SECONDS:
                bar = stack.enter_context(
                    click.progressbar(length=total, label="Tokens", file=sys.stderr)
                )
            if bar is not None:
                bar.update(done - bar.pos)
            yield step
