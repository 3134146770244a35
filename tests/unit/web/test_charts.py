"""The charts: what is drawn where, from the numbers alone."""

import re
from xml.etree import ElementTree

import pytest

from imagegen.web import charts, formatting
from imagegen.web.rendering import render
from imagegen.web.snapshot import BUCKET_SECONDS, Bucket
from tests.support.page_values import FIRST, buckets

TOLERANCE = 0.11  # what rounding to a tenth of a pixel may change, twice


def images_chart(filled: list[Bucket]) -> str:
    return render("chart.mako", chart=charts.images_chart(filled)).decode()


def seconds_chart(filled: list[Bucket], usual_seconds: float) -> str:
    return render("chart.mako", chart=charts.seconds_chart(filled, usual_seconds)).decode()


def rectangles(chart: str, kind: str) -> list[dict[str, float]]:
    """The bars of one kind: x and width in percent, y and height in pixels."""
    found = [item.attrib for item in ElementTree.fromstring(chart).iter("rect")]
    return [
        {name: float(item[name].rstrip("%")) for name in ("x", "width", "y", "height")}
        for item in found
        if item["class"] == kind
    ]


def scale(chart: str) -> ElementTree.Element:
    return ElementTree.fromstring(chart)[0]


def bars(chart: str) -> ElementTree.Element:
    return ElementTree.fromstring(chart)[1]


def heights_of_lines(chart: str) -> list[float]:
    return [float(item.attrib["y1"]) for item in bars(chart).iter("line")]


def labels(chart: str) -> list[str]:
    return [item.text or "" for item in ElementTree.fromstring(chart).iter("text")]


def test_images_stand_on_the_line_and_failures_hang_from_it() -> None:
    filled = buckets(b0=Bucket(FIRST, images=10), b35=Bucket(FIRST, images=5, failed=2))
    chart = images_chart(filled)

    first, last = rectangles(chart, "made")
    (failed,) = rectangles(chart, "bad")
    assert first["height"] == pytest.approx(2 * last["height"], abs=TOLERANCE)
    assert first["y"] == charts.TOP
    line = first["y"] + first["height"]
    assert last["y"] + last["height"] == pytest.approx(line, abs=TOLERANCE)
    assert failed["y"] > line
    assert failed["x"] == last["x"] > 97
    assert failed["height"] == pytest.approx(first["height"] / 5, abs=TOLERANCE)


def test_both_directions_have_a_scale() -> None:
    chart = images_chart(buckets(b0=Bucket(FIRST, images=10), b1=Bucket(FIRST, failed=4)))

    assert labels(chart)[:2] == ["10", "4"]
    (failed,), (_, lowest, _) = rectangles(chart, "bad"), heights_of_lines(chart)
    assert lowest == pytest.approx(failed["y"] + failed["height"] - 1, abs=TOLERANCE)


@pytest.mark.parametrize("images", [1, 10, 9000])
def test_no_label_is_printed_over_another(images: int) -> None:
    chart = images_chart(buckets(b0=Bucket(FIRST, images=images, failed=1)))
    high, low = [float(item.attrib["y"]) for item in scale(chart).iter("text")]

    assert low - high >= 12


def test_labels_are_beside_the_bars_and_lines_are_behind_them() -> None:
    filled = buckets(b0=Bucket(FIRST, images=9, p50_seconds=2.0, p95_seconds=3.5))
    chart = seconds_chart(filled, 3.5)
    drawn = [item.attrib.get("class") for item in bars(chart).iter()]

    assert [item.text for item in scale(chart).iter("text")] == ["4 s", "2 s"]
    assert max(place for place, kind in enumerate(drawn) if kind == "grid") < drawn.index("range")


def test_a_single_failure_among_thousands_is_seen() -> None:
    chart = images_chart(buckets(b3=Bucket(FIRST, images=9000, failed=1)))

    assert rectangles(chart, "bad")[0]["height"] == charts.LEAST


def test_times_are_drawn_from_the_median_up_and_gaps_stay_empty() -> None:
    filled = buckets(b4=Bucket(FIRST, images=9, p50_seconds=2.0, p95_seconds=3.5))
    chart = seconds_chart(filled, 3.5)

    (bar,), (median,) = rectangles(chart, "range"), rectangles(chart, "median")
    pixels_per_second = (charts.BASE - charts.TOP) / 4
    assert bar["y"] == pytest.approx(charts.BASE - 3.5 * pixels_per_second, abs=TOLERANCE)
    assert bar["height"] == pytest.approx(1.5 * pixels_per_second, abs=TOLERANCE)
    assert median["y"] == pytest.approx(charts.BASE - 2 * pixels_per_second - 1.5, abs=TOLERANCE)
    assert labels(chart)[:2] == ["4 s", "2 s"]


def test_one_that_took_for_ever_does_not_flatten_the_others() -> None:
    usual = Bucket(FIRST, images=99, p50_seconds=2.0, p95_seconds=3.0)
    late = Bucket(FIRST, images=1, p50_seconds=40_000.0, p95_seconds=40_000.0)
    chart = seconds_chart(buckets(b1=usual, b2=late), 3.0)

    first, runs_out = rectangles(chart, "range")
    assert first["height"] > 5
    assert runs_out["y"] == 0
    assert labels(chart)[0] == "20 s"


def test_full_hours_are_labelled_but_not_at_the_edges() -> None:
    chart = images_chart(buckets(b0=Bucket(FIRST, images=1)))
    hours = [label for label in labels(chart) if re.fullmatch(r"\d\d:\d\d", label)]

    expected = [FIRST + place * BUCKET_SECONDS for place in range(2, 34)]
    assert hours == [formatting.clock(start) for start in expected if start % 3600 == 0]


def test_whoever_points_at_a_bar_is_told_the_numbers() -> None:
    start = FIRST + BUCKET_SECONDS
    chart = images_chart(buckets(b1=Bucket(start, images=1234, failed=5)))
    titles = [item.text for item in ElementTree.fromstring(chart).iter("title")]

    when = f"{formatting.clock(start)} to {formatting.clock(start + BUCKET_SECONDS)} UTC"
    assert titles[1] == f"{when}: 1,234 images, 5 attempts failed"


@pytest.mark.parametrize(
    ("most", "shown"),
    [(0, 1), (0.03, 0.03), (1, 1), (1.01, 2), (5.5, 6), (7, 8), (9, 10), (61, 80), (101, 200)],
)
def test_an_axis_ends_at_a_round_number(most: float, shown: float) -> None:
    assert charts.nice(most) == pytest.approx(shown)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (-5, "0.0 s"), (0.44, "0.4 s"), (9.94, "9.9 s"), (9.96, "10 s"), (89, "89 s"),
        (90, "2 min"), (5399, "90 min"), (5400, "2 h"), (129_599, "36 h"), (864_000, "10 d"),
    ],
)  # fmt: skip
def test_durations_are_told_as_people_do(seconds: float, told: str) -> None:
    assert formatting.duration(seconds).replace(formatting.SPACE, " ") == told
