"""A command that takes long shows it on a terminal, and clears that at its end."""

import io
import threading
from collections.abc import Iterator
from contextlib import redirect_stderr

import pytest

from imagegen.cli import progress
from imagegen.cli.progress import WAITING, TransientLine, waiting, with_bar


class Terminal(io.StringIO):
    """A screen that knows whether something was written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        written = super().write(text)
        if text:  # click tries with none whether this takes text
            self.changed.set()
        return written


@pytest.fixture(autouse=True)
def everything_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LONG_SECONDS", 0.0)


def test_a_long_wait_is_a_line_that_is_gone_afterwards() -> None:
    with redirect_stderr(Terminal()) as terminal, waiting():
        assert terminal.changed.wait(10)
        shown = terminal.getvalue()

    assert shown == WAITING
    assert terminal.getvalue() == f"{WAITING}\r{' ' * len(WAITING)}\r"


def test_the_line_is_gone_where_the_wait_ends_in_an_error() -> None:
    with (
        redirect_stderr(Terminal()) as terminal,
        pytest.raises(KeyboardInterrupt),
        waiting(),
    ):
        assert terminal.changed.wait(10)
        raise KeyboardInterrupt

    assert terminal.getvalue().endswith(" \r")


def test_on_a_narrow_terminal_the_line_does_not_wrap_and_is_gone_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "20")

    with redirect_stderr(Terminal()) as terminal, waiting():
        assert terminal.changed.wait(10)

    assert terminal.getvalue() == f"imagegen: waiting…\r{' ' * 18}\r"


def test_a_line_takes_the_place_of_the_one_before_and_no_more() -> None:
    line = TransientLine()
    with redirect_stderr(Terminal()) as terminal:
        line.show("waiting for tables")
        line.show("waiting for a port")
        line.clear()
        line.clear()

    blanks = f"\r{' ' * 18}\r"
    assert terminal.getvalue() == f"waiting for tables{blanks}waiting for a port{blanks}"


def test_a_short_wait_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LONG_SECONDS", 60.0)

    with redirect_stderr(Terminal()) as terminal, waiting():
        pass

    assert terminal.getvalue() == ""


def test_without_a_terminal_nothing_is_shown() -> None:
    before = set(threading.enumerate())

    with redirect_stderr(io.StringIO()) as file, waiting():
        assert set(threading.enumerate()) <= before

    assert file.getvalue() == ""


def test_the_wait_for_the_first_step_is_shown_and_then_there_is_a_bar() -> None:
    def steps() -> Iterator[int]:
        assert terminal.changed.wait(10)
        yield 1

    with redirect_stderr(Terminal()) as terminal:
        assert list(with_bar(steps(), 1, int)) == [1]

    line, _, bar = terminal.getvalue().rpartition(" \r")
    assert line.startswith(WAITING)
    assert "Tokens" in bar
