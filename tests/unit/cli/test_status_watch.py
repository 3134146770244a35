"""`imagegen status --watch` on terminals of several kinds."""

import io
import time
from contextlib import redirect_stdout
from datetime import UTC, datetime

import pytest

from imagegen.cli import cli, status

NOTHING = status.StatusSnapshot(datetime.now(UTC), None, None, "no database", "no supervisor")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def watched_once(monkeypatch: pytest.MonkeyPatch, term: str) -> str:
    """Return what is on the terminal after one snapshot and Ctrl-C."""

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(status, "_read", lambda **_: NOTHING)
    monkeypatch.setattr(time, "sleep", interrupt)
    monkeypatch.setenv("TERM", term)
    arguments = ["status", "--watch", "--database-url", "postgresql://host/name"]
    with redirect_stdout(Terminal()) as terminal:
        cli.main(arguments, prog_name="imagegen", standalone_mode=False)
    return terminal.getvalue()


def test_each_snapshot_replaces_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    assert watched_once(monkeypatch, "xterm").startswith(status.CLEAR)


def test_a_dumb_terminal_gets_snapshots_below_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = watched_once(monkeypatch, "dumb")

    assert "no database" in screen
    assert "\x1b" not in screen
