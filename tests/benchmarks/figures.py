"""What was measured, beside what it should be."""

from collections.abc import Iterable
from dataclasses import dataclass

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
        value = f"{self.value:.3g}" if self.value < 100 else f"{self.value:.0f}"
        line = f"{self.name:<{NAME_WIDTH}} {value:>8} {self.unit:<4} {self.goal:>7}  {self.verdict}"
        return line.rstrip()


def table(figures: Iterable[Figure]) -> str:
    head = f"{'':<{NAME_WIDTH}} {'measured':>8} {'':<4} {'goal':>7}"
    return "\n".join([head, *map(str, figures)])
