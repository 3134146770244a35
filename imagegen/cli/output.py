"""What commands print: JSON, and tables that fit the terminal."""

import json
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field

import click

from imagegen.cli.errors import CommandError
from imagegen.text import printable

GAP = "  "
MIN_WIDTH = 8  # columns: a cell that is cut further says nothing
MAX_LINES = 5  # of one cell: a long error leaves the other rows on the screen
UNITS = {"d": 86_400, "h": 3600, "min": 60}


def emit(value: object, lines: Iterable[str], *, as_json: bool) -> None:
    """Print a value as JSON, or the lines that show it to a person."""
    for line in [json.dumps(value, indent=2, default=str)] if as_json else lines:
        click.echo(line)


@dataclass(frozen=True)
class Column:
    title: str
    right: bool = False
    shrinks: bool = False  # its cells are cut if the terminal is too narrow
    prefix: str = ""  # of its cells: dropped before anything is cut
    colours: Mapping[str, str] = field(default_factory=dict)  # by the text of the cell


def terminal_width() -> int | None:
    """Return how many columns fit, or None if the output is no terminal: nothing is cut then."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(
    columns: Sequence[Column], rows: Iterable[Sequence[str]], width: int | None
) -> Iterator[str]:
    """Yield the lines of a table, its titles first, no wider than `width`.

    If no table fits, yield some lines for each row, in which long cells wrap.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = _widths(columns, cells)
    if width is not None and _line_width(widths) > width:
        shorter = [
            [cell.removeprefix(column.prefix) for column, cell in zip(columns, row, strict=True)]
            for row in cells
        ]
        widths = _narrowed(columns, _widths(columns, shorter), width)
        if _line_width(widths) > width:
            yield from _blocks(columns, cells, width)
            return
        cells = shorter
    titles = map(_padded, columns, (column.title for column in columns), widths)
    yield click.style(GAP.join(titles).rstrip(), bold=True)
    for row in cells:
        yield GAP.join(map(_padded, columns, row, widths)).rstrip()


def _widths(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> list[int]:
    return [
        max(map(text_width, [column.title, *(row[index] for row in cells)]))
        for index, column in enumerate(columns)
    ]


def _line_width(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _narrowed(columns: Sequence[Column], widths: Sequence[int], width: int) -> list[int]:
    """Return the widths with those of shrinking columns reduced, as far as needed and possible.

    The widest of them is reduced first.
    """
    narrowed = list(widths)
    shrinking = [index for index, column in enumerate(columns) if column.shrinks]
    while shrinking and _line_width(narrowed) > width:
        widest = max(shrinking, key=narrowed.__getitem__)
        if narrowed[widest] <= MIN_WIDTH:
            break
        narrowed[widest] -= 1
    return narrowed


def _blocks(columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """Yield the cells of each row that are not empty, one below the other.

    A title stands before its cell, or above it if the cell would be too narrow.
    """
    label_width = max(len(column.title) for column in columns) + len(GAP)
    is_inline = width - label_width >= MIN_WIDTH
    indent = " " * (label_width if is_inline else len(GAP))
    for number, row in enumerate(cells):
        if number:
            yield ""
        for column, text in zip(columns, row, strict=True):
            if not text:
                continue
            start = f"{column.title:<{label_width}}"
            if not is_inline:
                yield cut(column.title, width)
                start = indent
            for line in wrap(text, max(width - len(indent), 1)):
                yield f"{start}{_coloured(column, text, line)}"
                start = indent


def _padded(column: Column, text: str, width: int) -> str:
    shown = cut(text, width)
    blanks = " " * (width - text_width(shown))
    shown = _coloured(column, text, shown)
    return blanks + shown if column.right else shown + blanks


def _coloured(column: Column, text: str, shown: str) -> str:
    colour = column.colours.get(text)
    return click.style(shown, fg=colour) if colour else shown


def cut(text: str, width: int) -> str:
    """Return the text, or as much of it as fits, with an ellipsis."""
    if text_width(text) <= width:
        return text
    shown = text
    while shown and text_width(shown) >= width:
        shown = shown[:-1]
    return f"{shown.rstrip()}…"


def wrap(text: str, width: int) -> list[str]:
    """Return the text in lines of at most `width` columns, cut after MAX_LINES.

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
    if len(lines) > MAX_LINES:
        lines[MAX_LINES - 1 :] = [cut(" ".join(lines[MAX_LINES - 1 :]), width)]
    return lines


def text_width(text: str) -> int:
    """Return how many columns of a terminal the text takes."""
    return len(text) if text.isascii() else sum(map(_character_width, text))


def _character_width(character: str) -> int:
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


def ask(question: str) -> None:
    """Ask on the terminal. Ends the command if the answer is no, or without a terminal."""
    if not sys.stdin.isatty():
        raise CommandError(
            f"{question} only with --yes, because there is no terminal to ask on; nothing was"
            " changed"
        )
    with redirect_stdout(sys.stderr):  # standard output may be a file
        click.confirm(f"{question}. Go on?", abort=True)
