"""Tables fit the terminal, and no text in them does it harm."""

import pytest
from click import unstyle
from hypothesis import given
from hypothesis import strategies as st

from imagegen.cli import output
from imagegen.cli.output import Column, cut, duration, table, text_width, wrap
from imagegen.text import printable

COLUMNS = [
    Column("token", right=True),
    Column("status", colours={"failed": "red"}),
    Column("error", shrinks=True),
]
ROWS = [["7", "failed", "the prediction failed, and nobody knows why"], ["1234", "uploading", ""]]


def lines(width: int | None, rows: list[list[str]] = ROWS) -> list[str]:
    return [unstyle(line) for line in table(COLUMNS, rows, width)]


def test_columns_stand_below_their_titles() -> None:
    assert lines(None) == [
        "token  status     error",
        "    7  failed     the prediction failed, and nobody knows why",
        " 1234  uploading",
    ]


def test_a_narrow_terminal_cuts_the_column_that_shrinks() -> None:
    assert lines(40)[1] == "    7  failed     the prediction failed…"


@pytest.mark.parametrize("width", [7, 12, 16, 25, 26, 28, 40, 61, 62, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    assert max(map(text_width, lines(width))) <= width


def test_where_no_table_fits_each_row_becomes_some_lines() -> None:
    assert lines(25) == [
        "token   7",
        "status  failed",
        "error   the prediction",
        "        failed, and",
        "        nobody knows why",
        "",
        "token   1234",
        "status  uploading",
    ]


def test_a_title_too_wide_for_its_line_is_above_its_value() -> None:
    columns = [Column("outcome", prefix="failed: "), Column("predictions", right=True)]
    rows = [["failed: content_policy", "3"], ["failed: transient", "12"]]

    assert list(table(columns, rows, 20)) == [
        "outcome",
        "  failed:",
        "  content_policy",
        "predictions",
        "  3",
        "",
        "outcome",
        "  failed: transient",
        "predictions",
        "  12",
    ]


def test_an_error_without_end_takes_some_lines_only() -> None:
    shown = lines(25, [["1234", "uploading", "it failed " * 100]])

    assert len(shown) == 2 + output.MAX_LINES
    assert shown[-1].endswith("…")


@given(st.text(), st.integers(min_value=2, max_value=30))
def test_any_text_fits_when_it_is_wrapped(text: str, width: int) -> None:
    assert all(text_width(line) <= width for line in wrap(printable(text), width))


def test_a_table_in_which_no_column_shrinks_becomes_lines_too() -> None:
    shown = [unstyle(line) for line in table([Column("id"), Column("state")], [["7", "up"]], 8)]

    assert shown == ["id", "  7", "state", "  up"]


def test_the_prefix_that_cells_share_goes_before_anything_is_cut() -> None:
    columns = [Column("model"), Column("outcome", shrinks=True, prefix="failed: ")]
    rows = [["flux", "failed: content_policy"], ["flux", "succeeded"]]

    assert list(table(columns, rows, 29))[1] == "flux   failed: content_policy"
    assert list(table(columns, rows, 28))[1:] == ["flux   content_policy", "flux   succeeded"]


def test_only_the_cell_has_the_colour_in_a_block_too() -> None:
    assert list(table(COLUMNS, ROWS, 25))[1] == "status  \x1b[31mfailed\x1b[0m"


def test_no_line_ends_with_blanks_whatever_its_colour() -> None:
    lines = table([Column("gate", colours={"open": "green"})], [["open"], ["not running"]], None)

    assert list(lines)[1] == "\x1b[32mopen\x1b[0m"


def test_only_the_cell_has_the_colour() -> None:
    (_, row, _) = table(COLUMNS, ROWS, None)

    assert row.startswith("    7  \x1b[31mfailed\x1b[0m     the")


def test_wide_characters_do_not_shift_the_columns() -> None:
    shown = list(table([Column("prompt"), Column("status")], [["金閣寺 é", "a"], ["é", "b"]], None))

    assert {text_width(unstyle(line)[: unstyle(line).rindex(" ")]) for line in shown[1:]} == {9}
    assert text_width("金閣寺") == 6
    assert text_width("e\u0301") == 1


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[2J\x1b]0;owned\x07 a cat", "[2J]0;owned a cat"),
        ("two\r\nlines\tand a tab", "two lines and a tab"),
        ("\x9b31mred", "31mred"),
        ("\u202egnp.exe", "gnp.exe"),
        ("a \x00 b", "a  b"),
    ],
)
def test_a_prompt_cannot_command_the_terminal(hostile: str, shown: str) -> None:
    assert printable(hostile) == shown


@given(st.text(), st.integers(min_value=1, max_value=30))
def test_any_text_fits_after_the_cut(text: str, width: int) -> None:
    assert text_width(cut(printable(text), width)) <= width


@given(st.lists(st.lists(st.text(), min_size=3, max_size=3)))
def test_every_row_is_one_printable_line(rows: list[list[str]]) -> None:
    shown = lines(None, rows)

    assert len(shown) == len(rows) + 1
    assert all(line.isprintable() for line in shown)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "-"), (0, "0 s"), (59, "59 s"), (60, "1 min"), (5400, "2 h"), (86_400 * 12, "12 d")],
)
def test_a_duration_is_shown_in_its_largest_unit(seconds: float | None, shown: str) -> None:
    assert duration(seconds) == shown
