"""A running supervisor as a test sees it: its process, its children's notes, its log."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.running import wait_for

ROOT = Path(__file__).parents[2]


class Supervised:
    """A running supervisor, and what its children and its log say."""

    def __init__(self, process: "subprocess.Popen[bytes]", folder: Path) -> None:
        self.process = process
        self._folder = folder

    def notes(self, did: str) -> list[dict[str, Any]]:
        return [note for note in lines_of(self._folder / "notes") if note["did"] == did]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in lines_of(self._folder / "log") if line["event"] == name]

    def wait_for_starts(self, count: int) -> list[dict[str, Any]]:
        return at_least(count, lambda: self.notes("started"))

    def wait_for_events(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        return at_least(count, lambda: self.events(name))

    def pid_of(self, role: str) -> int:
        return int([note["pid"] for note in self.notes("started") if note["role"] == role][-1])

    def tell(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ends(self) -> int:
        return self.process.wait(30)


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file of JSON objects, as far as it is written."""
    written = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in written.splitlines(True) if line.endswith("}\n")]


def at_least(count: int, look: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    def enough() -> list[dict[str, Any]] | None:
        found = look()
        return found if len(found) >= count else None

    return wait_for(f"{count} lines", enough, 20)


def is_gone(pid: int) -> bool:
    """Ended, whether or not somebody has taken note."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"


@contextlib.contextmanager
def supervising(
    folder: Path,
    children: dict[str, str],
    *,
    grace_seconds: float = 60.0,
    margin_seconds: float = 60.0,
    reaps_strangers: bool = False,
    interrupted_fork: int = 0,
    failing_forks: int = 0,
) -> Iterator[Supervised]:
    """Start a supervisor over these children; whatever is left of it is killed."""
    asked = {
        "children": children,
        "grace_seconds": grace_seconds,
        "margin_seconds": margin_seconds,
        "reaps_strangers": reaps_strangers,
        "interrupted_fork": interrupted_fork,
        "failing_forks": failing_forks,
        "notes": str(folder / "notes"),
    }
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.unit.supervised", json.dumps(asked)],
            cwd=ROOT, stderr=log, env=os.environ | {"TMPDIR": str(folder)},
        )  # fmt: skip
    with process:
        try:
            yield Supervised(process, folder)
        finally:
            process.kill()
