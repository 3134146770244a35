"""Delays that grow with each failure, and jitter that spreads simultaneous retries."""

import random

# 2.0 ** 1024 overflows. No delay here doubles that often before it reaches its limit.
LARGEST_EXPONENT = 60


def exponential(failures: int, *, first_seconds: float, most_seconds: float) -> float:
    """Return the delay after this number of failures in a row.

    0 without a failure, then `first_seconds`, then twice as long each time up to `most_seconds`.
    """
    if failures <= 0:
        return 0.0
    return min(first_seconds * 2.0 ** min(failures - 1, LARGEST_EXPONENT), most_seconds)


def jittered(seconds: float, part: float) -> float:
    """Return a random duration within `part` of the given one: 9 to 11 s for 10 s and 0.1."""
    return seconds * random.uniform(1 - part, 1 + part)  # noqa: S311 (no secret)
