"""What was measured, beside what it should be."""

import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

NAME_WIDTH = 46


@dataclass(frozen=True)
class Figure:
    """One measured number, and its goal if it has one: at most or at least so much."""

    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def verdict(self) -> str:
        """`met`, `missed`, or nothing where there is no goal."""
        if self.at_most is not None:
            return "met" if self.value <= self.at_most else "missed"
        if self.at_least is not None:
            return "met" if self.value >= self.at_least else "missed"
        return ""

    @property
    def goal(self) -> str:
        if self.at_most is not None:
            return f"≤ {self.at_most:g}"
        return f"≥ {self.at_least:g}" if self.at_least is not None else ""

    def __str__(self) -> str:
        value = shown(self.value)
        line = f"{self.name:<{NAME_WIDTH}} {value:>8} {self.unit:<4} {self.goal:>7}  {self.verdict}"
        return line.rstrip()


@dataclass(frozen=True)
class Spread:
    """The same figure of several runs; its median is what the goal is compared with."""

    runs: tuple[Figure, ...]

    @property
    def values(self) -> list[float]:
        return [each.value for each in self.runs]

    @property
    def median(self) -> Figure:
        return replace(self.runs[0], value=statistics.median(self.values))

    def line(self, width: int) -> str:
        """The name, in this width, with the least, median and greatest value."""
        median = self.median
        values = [shown(value) for value in (min(self.values), median.value, max(self.values))]
        columns = " ".join(f"{value:>8}" for value in values)
        line = f"{median.name:<{width}} {columns} {median.unit:<4} {median.goal:>7}"
        return f"{line}  {median.verdict}".rstrip()

    def as_json(self) -> dict[str, object]:
        """The median as a figure, and the value of each run."""
        return asdict(self.median) | {"verdict": self.median.verdict, "runs": self.values}


def table(figures: Iterable[Figure]) -> str:
    head = f"{'':<{NAME_WIDTH}} {'measured':>8} {'':<4} {'goal':>7}"
    return "\n".join([head, *map(str, figures)])


def spreads(runs: Iterable[Iterable[Figure]]) -> list[Spread]:
    """The figures of several runs by name, in the order in which the names first come."""
    by_name: dict[str, list[Figure]] = {}
    for figures in runs:
        for figure in figures:
            by_name.setdefault(figure.name, []).append(figure)
    return [Spread(tuple(figures)) for figures in by_name.values()]


def table_of_runs(found: list[Spread]) -> str:
    """A line for each figure: its least, median and greatest value."""
    width = max((len(each.median.name) for each in found), default=0)
    columns = f"{'min':>8} {'median':>8} {'max':>8}"
    head = f"{'':<{width}} {columns} {'':<4} {'goal':>7}"
    return "\n".join([head, *(each.line(width) for each in found)])


def shown(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"
