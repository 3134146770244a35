"""A running supervisor as a test sees it: its process, its children's notes, its log."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.processes import wait_for

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 20.0

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")


class RunningSupervisor:
    """A running supervisor, and what its children and its log say."""

    def __init__(self, process: "subprocess.Popen[bytes]", folder: Path) -> None:
        self.process = process
        self._folder = folder

    def notes(self, *did: str) -> list[dict[str, Any]]:
        return [note for note in lines_of(self._folder / "notes") if note["did"] in did]

    def log(self) -> str:
        return (self._folder / "log").read_text()

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in lines_of(self._folder / "log") if line["event"] == name]

    def wait_for_notes(self, did: str, count: int = 1) -> list[dict[str, Any]]:
        return at_least(count, lambda: self.notes(did))

    def wait_for_starts(self, count: int) -> list[dict[str, Any]]:
        return self.wait_for_notes("started", count)

    def wait_for_events(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        return at_least(count, lambda: self.events(name))

    def wait_for_start_of(self, name: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            return next((note for note in self.notes("started") if note["name"] == name), None)

        return wait_for(f"the start of {name}", look, PATIENCE_SECONDS)

    def pid_of(self, role: str) -> int:
        return int([note["pid"] for note in self.notes("started") if note["role"] == role][-1])

    def tell(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def tell_all(self, number: signal.Signals) -> None:
        """Send a signal to the supervisor and its children at once."""
        os.killpg(self.process.pid, number)

    def let_begin(self, role: str) -> None:
        """Let a child that `reboots_when_told` get to its main loop."""
        (self._folder / f"go-{role}").touch()

    def wait_for_a_turn(self) -> None:
        """Until the supervisor has looked at everything once more: it has replaced an exporter."""
        killed = self.pid_of("exporter")
        os.kill(killed, signal.SIGKILL)
        wait_for(
            "a new exporter", lambda: self.pid_of("exporter") != killed, PATIENCE_SECONDS
        )  # fmt: skip

    def restarts(self, role: str, cause: str) -> float | None:
        """What /metrics would show."""
        labels = {"slot": role, "cause": cause}
        return self.metric("imagegen_worker_restarts_total", labels)

    def metric(self, name: str, labels: dict[str, str] | None = None) -> float | None:
        file = self._folder / "metrics"
        shown = file.read_text() if file.exists() else ""
        samples = [
            each for family in text_string_to_metric_families(shown) for each in family.samples
        ]
        values = [
            each.value for each in samples if (each.name, each.labels) == (name, labels or {})
        ]
        return values[0] if values else None

    def ends(self) -> int:
        return self.process.wait(30)


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file that are JSON objects, as far as it is written."""
    written = path.read_text() if path.exists() else ""
    whole = (line for line in written.splitlines(True) if line.endswith("}\n"))
    return [json.loads(line) for line in whole if line.startswith("{")]


def at_least(count: int, look: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    def enough() -> list[dict[str, Any]] | None:
        found = look()
        return found if len(found) >= count else None

    return wait_for(f"{count} lines", enough, PATIENCE_SECONDS)


def is_gone(pid: int) -> bool:
    """Ended, whether or not somebody has taken note."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"


@contextlib.contextmanager
def running_supervisor(
    folder: Path,
    children: dict[str, str],
    *,
    grace_seconds: float = 60.0,
    watchdog_seconds: float = 60.0,
    constants: Mapping[str, float] | None = None,
    environment: Mapping[str, str] | None = None,
    reaps_strangers: bool = False,
    interrupted_fork: int = 0,
    failing_forks: int = 0,
) -> Iterator[RunningSupervisor]:
    """Start a supervisor over these children; whatever is left of it is killed.

    An exporter that is not named is there, and writes no notes. `constants` are those of
    imagegen.supervisor. A worker that is not named does what the
    first one does.
    """
    asked = {
        "children": children,
        "grace_seconds": grace_seconds,
        "watchdog_seconds": watchdog_seconds,
        "constants": {"STOP_MARGIN_SECONDS": 60.0, **(constants or {})},
        "reaps_strangers": reaps_strangers,
        "interrupted_fork": interrupted_fork,
        "failing_forks": failing_forks,
        "folder": str(folder),
    }
    inherited = {k: v for k, v in os.environ.items() if k not in {"NOTIFY_SOCKET", "WATCHDOG_USEC"}}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.supervisor_program", json.dumps(asked)],
            cwd=ROOT, start_new_session=True, stderr=log,
            env={**inherited, "TMPDIR": str(folder), **(environment or {})},
        )  # fmt: skip
    with process:
        try:
            yield RunningSupervisor(process, folder)
        finally:
            process.kill()
