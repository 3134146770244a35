"""Small charts as SVG: places across in percent, so that they fit every screen, text unscaled."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from imagegen.web.formatting import clock, count, duration, images_and_failures, text
from imagegen.web.snapshot import BUCKET_SECONDS, Bucket

# In pixels, from the top.
TOP = 10.0  # half of the label of the highest value is above its line
BASE = 126.0
HEIGHT = 148
LEAST = 2.0  # what is not nothing is seen
LABEL = 14.0  # from one label to the next
# In parts of a bucket.
BAR = 0.7
HOUR_SECONDS = 3600
# So many times the usual is far too long to be drawn.
OUTLIER = 4.0
# An hour's label is left out where it would stick out at the side.
LABEL_PERCENT = 4.0
STEPS = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


@dataclass(frozen=True)
class Mark:
    """A line of the scale, with what it stands for."""

    y: float
    label: str
    kind: str = "usual"


def images_chart(buckets: Sequence[Bucket]) -> str:
    """Images upwards from the line, failed attempts downwards."""
    up = max(bucket.images for bucket in buckets)
    down = max(bucket.failed for bucket in buckets)
    scale = (BASE - TOP) / max(up + down, 1)
    line = TOP + up * scale
    marks = []
    for place, bucket in enumerate(buckets):
        bars = ""
        if bucket.images:
            tall = max(bucket.images * scale, LEAST)
            bars += _bar("made", place, len(buckets), line - tall, tall)
        if bucket.failed:
            bars += _bar("bad", place, len(buckets), line + 1, max(bucket.failed * scale, LEAST))
        told = images_and_failures(bucket.images, bucket.failed)
        marks.append(_marked(place, buckets, told, bars))
    scale_marks = [Mark(TOP, count(up))] if up else []
    if down:
        scale_marks.append(Mark(line + max(down * scale, LEAST), count(down), "bad"))
    about = (
        f"Images and failed attempts in each {BUCKET_SECONDS // 60} minutes of the last"
        f" {len(buckets) * BUCKET_SECONDS // HOUR_SECONDS} hours, at most {count(up)} images"
        f" and {count(down)} failed attempts."
    )
    return _chart(about, scale_marks, [*marks, _line("axis", line), *_hours(buckets)])


def seconds_chart(buckets: Sequence[Bucket], usual_seconds: float) -> str:
    """From the median up to the 95th percentile, for each bucket with an image.

    What took far longer than `usual_seconds` runs out of the chart, and leaves room for the rest.
    """
    longest = max(bucket.p95_seconds or 0.0 for bucket in buckets)
    most = nice(min(longest, OUTLIER * usual_seconds))
    scale = (BASE - TOP) / most
    marks = []
    for place, bucket in enumerate(buckets):
        if bucket.p50_seconds is None or bucket.p95_seconds is None:
            continue
        median = max(BASE - bucket.p50_seconds * scale, 0.0)
        high = BASE - bucket.p95_seconds * scale if bucket.p95_seconds <= most else 0.0
        bars = _bar("range", place, len(buckets), high, max(median - high, LEAST))
        bars += _bar("median", place, len(buckets), median - 1.5, 3)
        told = f"median {duration(bucket.p50_seconds)}, 95 % {duration(bucket.p95_seconds)}"
        marks.append(_marked(place, buckets, told, bars))
    scale_marks = [Mark(TOP, f"{most:g} s"), Mark((TOP + BASE) / 2, f"{most / 2:g} s")]
    about = "Time from a claim to its image: the median, and what 95 of 100 stay below."
    return _chart(about, scale_marks, [*marks, _line("axis", BASE), *_hours(buckets)])


def nice(most: float) -> float:
    """The next of 1, 2, 3, 4, 5, 6, 8, 10, 20 … that is no less."""
    if most <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(most))
    return next(step * power for step in STEPS if step * power >= most)


def _chart(about: str, scale: Sequence[Mark], parts: Sequence[str]) -> str:
    """The scale has its place beside the bars, and its lines are behind them."""
    wide = max((len(mark.label) for mark in scale), default=0)
    labels, lowest = "", -math.inf
    for mark in scale:
        lowest = max(mark.y, lowest + LABEL)
        labels += f'<text class="{mark.kind}" x="100%" y="{lowest + 4:.1f}">{mark.label}</text>'
    lines = "".join(_line("grid", mark.y) for mark in scale)
    return (
        f'<div class="chart" role="img" aria-label="{text(about)}">'
        f'<svg class="scale" width="{wide}ch" height="{HEIGHT}">{labels}</svg>'
        f'<svg class="bars" height="{HEIGHT}">{lines}{"".join(parts)}</svg></div>'
    )


def _line(kind: str, y: float) -> str:
    return f'<line class="{kind}" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>'


def _bar(kind: str, place: int, places: int, top: float, tall: float) -> str:
    left, width = (place + (1 - BAR) / 2) / places, BAR / places
    return (
        f'<rect class="{kind}" x="{left:.3%}" width="{width:.3%}" y="{top:.1f}"'
        f' height="{tall:.1f}"/>'
    )


def _marked(place: int, buckets: Sequence[Bucket], told: str, bars: str) -> str:
    """The bars of a bucket, and what they are to whoever points anywhere above or below them."""
    start = buckets[place].start
    when = f"{clock(start)} to {clock(start + BUCKET_SECONDS)} UTC"
    left, width = place / len(buckets), 1 / len(buckets)
    ground = f'<rect class="ground" x="{left:.3%}" width="{width:.3%}" y="0" height="{HEIGHT}"/>'
    return f"<g><title>{when}: {told}</title>{ground}{bars}</g>"


def _hours(buckets: Sequence[Bucket]) -> Iterator[str]:
    for place, bucket in enumerate(buckets):
        percent = 100 * place / len(buckets)
        if bucket.start % HOUR_SECONDS == 0 and LABEL_PERCENT < percent < 100 - LABEL_PERCENT:
            shown = clock(bucket.start)
            yield f'<text class="hour" x="{percent:.3f}%" y="{HEIGHT - 4}">{shown}</text>'
