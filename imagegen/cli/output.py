"""What commands print: JSON, and tables that fit the terminal."""

import json
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import click

from imagegen.text import printable

GAP = "  "
NARROWEST = 8  # columns: a cell that is cut further says nothing
MOST_LINES = 5  # of one cell: a long error leaves the other rows on the screen
UNITS = {"d": 86_400, "h": 3600, "min": 60}


def emit(value: object, lines: Iterable[str], *, as_json: bool) -> None:
    """Print a value as JSON, or the lines that say the same to a person."""
    for line in [json.dumps(value, indent=2, default=str)] if as_json else lines:
        click.echo(line)


@dataclass(frozen=True)
class Column:
    title: str
    right: bool = False
    gives_way: bool = False  # is cut where the terminal is too narrow
    prefix: str = ""  # is left out before anything is cut
    colours: Mapping[str, str] = field(default_factory=dict)  # by the text of the cell


def terminal_width() -> int | None:
    """Return how many columns fit; None if the output is no terminal: then nothing is cut."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(
    columns: Sequence[Column], rows: Iterable[Sequence[str]], width: int | None
) -> Iterator[str]:
    """Yield the lines of a table, its titles first, no wider than `width`.

    If no table fits, yield some lines for each row, in which long cells wrap.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = _widths(columns, cells)
    if width is not None and _total(widths) > width:
        shorter = [
            [cell.removeprefix(column.prefix) for column, cell in zip(columns, row, strict=True)]
            for row in cells
        ]
        narrower = _narrowed(columns, _widths(columns, shorter), width)
        if _total(narrower) > width:
            yield from _blocks(columns, cells, width)
            return
        cells, widths = shorter, narrower
    titles = map(_padded, columns, (column.title for column in columns), widths)
    yield click.style(GAP.join(titles).rstrip(), bold=True)
    for row in cells:
        yield GAP.join(map(_padded, columns, row, widths)).rstrip()


def _widths(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> list[int]:
    return [
        max(map(text_width, [column.title, *(row[index] for row in cells)]))
        for index, column in enumerate(columns)
    ]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _narrowed(columns: Sequence[Column], widths: Sequence[int], width: int) -> list[int]:
    """Narrow the widest column that gives way, again and again, as long as that helps."""
    narrowed = list(widths)
    yielding = [index for index, column in enumerate(columns) if column.gives_way]
    while yielding and _total(narrowed) > width:
        widest = max(yielding, key=narrowed.__getitem__)
        if narrowed[widest] <= NARROWEST:
            break
        narrowed[widest] -= 1
    return narrowed


def _blocks(columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """Yield the cells of each row that hold something, one below the other.

    A title stands before its cell, or above it if too little room is left beside it.
    """
    label_width = max(len(column.title) for column in columns) + len(GAP)
    is_beside = width - label_width >= NARROWEST
    indent = " " * (label_width if is_beside else len(GAP))
    for number, row in enumerate(cells):
        if number:
            yield ""
        for column, text in zip(columns, row, strict=True):
            if not text:
                continue
            first = f"{column.title:<{label_width}}"
            if not is_beside:
                yield cut(column.title, width)
                first = indent
            for line in wrap(text, max(width - len(indent), 1)):
                yield f"{first}{_coloured(column, text, line)}"
                first = indent


def _padded(column: Column, text: str, width: int) -> str:
    shown = cut(text, width)
    blanks = " " * (width - text_width(shown))
    shown = _coloured(column, text, shown)
    return blanks + shown if column.right else shown + blanks


def _coloured(column: Column, text: str, shown: str) -> str:
    colour = column.colours.get(text)
    return click.style(shown, fg=colour) if colour else shown


def cut(text: str, width: int) -> str:
    """Return the text, or what of it fits and an ellipsis."""
    if text_width(text) <= width:
        return text
    shown = ""
    for character in text:
        if text_width(shown + character) >= width:
            break
        shown += character
    return f"{shown.rstrip()}…"


def wrap(text: str, width: int) -> list[str]:
    """Return the text in lines of at most `width` columns, the last of MOST_LINES cut.

    They break at blanks, or within a word that is wider.
    """
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".lstrip()
        if text_width(longer) <= width:
            lines[-1] = longer
            continue
        lines += [""] if lines[-1] else []
        for character in word:
            if lines[-1] and text_width(lines[-1] + character) > width:
                lines.append("")
            lines[-1] += character
    if len(lines) > MOST_LINES:
        lines[MOST_LINES - 1 :] = [cut(" ".join(lines[MOST_LINES - 1 :]), width)]
    return lines


def text_width(text: str) -> int:
    """Return how many columns of a terminal the text takes."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.category(character) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def duration(seconds: float | None) -> str:
    """Return 45 s, 12 min, 3 h or 12 d; - for None."""
    if seconds is None:
        return "-"
    for unit, length in UNITS.items():
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
