"""Small charts as plain values: the positions of their bars and labels."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from imagegen.web.formatting import clock, count, duration, images_and_failures
from imagegen.web.snapshot import BUCKET_SECONDS, Bucket

# In pixels, from the top.
TOP = 10.0  # room for half of the label of the highest value
BASE = 126.0
HEIGHT = 148
LEAST = 2.0  # height of a bar, so that the smallest value is seen
LABEL = 14.0  # least distance from one label to the next
BAR = 0.7  # of a bucket's width
HOUR_SECONDS = 3600
# The scale ends at this multiple of the usual time; a longer bar runs out of the chart.
OUTLIER = 4.0
# The label of an hour does not fit closer to the sides than this.
LABEL_FRACTION = 0.04
STEPS = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


@dataclass(frozen=True)
class Mark:
    """A line of the scale, with its value."""

    y: float
    label: str
    kind: str = "usual"


@dataclass(frozen=True)
class Bar:
    kind: str
    top: float
    height: float


@dataclass(frozen=True)
class Column:
    """The bars of one bucket; `left` and `width` are fractions of the chart's width."""

    left: float
    width: float
    title: str
    bars: list[Bar]

    @property
    def bar_left(self) -> float:
        return self.left + self.width * (1 - BAR) / 2

    @property
    def bar_width(self) -> float:
        return self.width * BAR


@dataclass(frozen=True)
class Chart:
    """A chart; `axis` is the y of its zero line."""

    description: str
    scale: list[Mark]
    axis: float
    columns: list[Column]
    hours: list[tuple[float, str]]

    @property
    def scale_characters(self) -> int:
        return max((len(mark.label) for mark in self.scale), default=0)

    @property
    def labels(self) -> Iterator[tuple[Mark, float]]:
        """Yield each mark with the y of its label, so that no label covers the one before."""
        lowest = -math.inf
        for mark in self.scale:
            lowest = max(mark.y, lowest + LABEL)
            yield mark, lowest + 4


def images_chart(buckets: Sequence[Bucket]) -> Chart:
    """Return the chart of images, upwards from the line, and failed attempts, downwards."""
    up = max(bucket.images for bucket in buckets)
    down = max(bucket.failed for bucket in buckets)
    pixels_each = (BASE - TOP) / max(up + down, 1)
    line = TOP + up * pixels_each
    columns = []
    for index, bucket in enumerate(buckets):
        bars = []
        if bucket.images:
            height = max(bucket.images * pixels_each, LEAST)
            bars.append(Bar("made", line - height, height))
        if bucket.failed:
            bars.append(Bar("bad", line + 1, max(bucket.failed * pixels_each, LEAST)))
        numbers = images_and_failures(bucket.images, bucket.failed)
        columns.append(_column(buckets, index, numbers, bars))
    scale = [Mark(TOP, count(up))] if up else []
    if down:
        scale.append(Mark(line + max(down * pixels_each, LEAST), count(down), "bad"))
    description = (
        f"Images and failed attempts in each {BUCKET_SECONDS // 60} minutes of the last"
        f" {len(buckets) * BUCKET_SECONDS // HOUR_SECONDS} hours, at most {count(up)} images"
        f" and {count(down)} failed attempts."
    )
    return Chart(description, scale, line, columns, list(_hours(buckets)))


def seconds_chart(buckets: Sequence[Bucket], usual_seconds: float) -> Chart:
    """Return the chart of times: from the median up to the 95th percentile.

    Times far longer than `usual_seconds` run out of the chart, or the rest would be too small.
    """
    longest = max(bucket.p95_seconds or 0.0 for bucket in buckets)
    most = nice(min(longest, OUTLIER * usual_seconds))
    pixels_each = (BASE - TOP) / most
    columns = []
    for index, bucket in enumerate(buckets):
        if bucket.p50_seconds is None or bucket.p95_seconds is None:
            continue
        median = max(BASE - bucket.p50_seconds * pixels_each, 0.0)
        high = BASE - bucket.p95_seconds * pixels_each if bucket.p95_seconds <= most else 0.0
        bars = [Bar("range", high, max(median - high, LEAST)), Bar("median", median - 1.5, 3)]
        numbers = f"median {duration(bucket.p50_seconds)}, 95 % {duration(bucket.p95_seconds)}"
        columns.append(_column(buckets, index, numbers, bars))
    scale = [Mark(TOP, f"{most:g} s"), Mark((TOP + BASE) / 2, f"{most / 2:g} s")]
    description = "Time from a claim to its image: the median, and what 95 of 100 stay below."
    return Chart(description, scale, BASE, columns, list(_hours(buckets)))


def nice(most: float) -> float:
    """Return the least of 1, 2, 3, 4, 5, 6, 8, 10, 20 … that is not below `most`."""
    if most <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(most))
    return next(step * power for step in STEPS if step * power >= most)


def pixels(y: float) -> str:
    return f"{y:.1f}"


def percent(fraction: float) -> str:
    return f"{fraction:.3%}"


def _column(buckets: Sequence[Bucket], index: int, numbers: str, bars: list[Bar]) -> Column:
    start = buckets[index].start
    title = f"{clock(start)} to {clock(start + BUCKET_SECONDS)} UTC: {numbers}"
    return Column(index / len(buckets), 1 / len(buckets), title, bars)


def _hours(buckets: Sequence[Bucket]) -> Iterator[tuple[float, str]]:
    for index, bucket in enumerate(buckets):
        left = index / len(buckets)
        if bucket.start % HOUR_SECONDS == 0 and LABEL_FRACTION < left < 1 - LABEL_FRACTION:
            yield left, clock(bucket.start)
