"""Delays that grow, and jitter that parts what would come at the same moment."""

import random

# 2.0 ** 1024 overflows. No delay here doubles that often before it reaches its limit.
LARGEST_EXPONENT = 60


def exponential(failures: int, *, first_seconds: float, most_seconds: float) -> float:
    """Return the delay after so many failures in a row: `first_seconds`, then twice as long each
    time, at most `most_seconds`; 0 without a failure."""
    if failures <= 0:
        return 0.0
    return min(first_seconds * 2.0 ** min(failures - 1, LARGEST_EXPONENT), most_seconds)


def jittered(seconds: float, part: float) -> float:
    """Return a duration that is longer or shorter by up to this part of it, by chance."""
    return seconds * random.uniform(1 - part, 1 + part)  # noqa: S311 (no secret)
