"""Where the processes of one supervisor keep their counts: files, keyed by slot and not by pid.

prometheus_client names its files by pid, so that every restart leaves more of them behind and the
counts of the dead are summed for ever. Here a worker that replaces another goes on with its files.
"""

import os
import re
import shutil
import tempfile
from pathlib import Path

from prometheus_client import values
from prometheus_client.multiprocess import mark_process_dead

PREFIX = "imagegen-metrics-"

_process = "supervisor"


def share() -> Path:
    """Make the folder and keep all metrics there from now on; to be called before they exist."""
    remove_abandoned()
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    values.ValueClass = values.MultiProcessValue(lambda: _process)  # type: ignore[no-untyped-call]
    return folder


def become(process: str) -> None:
    """From now on this process counts as `process` (after a fork)."""
    global _process  # noqa: PLW0603 (prometheus_client asks for it through a function)
    _process = process


def forget_gauges(process: str) -> None:
    """Gauges of a process that ended are gone; its counters stay."""
    mark_process_dead(process)  # type: ignore[no-untyped-call]


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned() -> None:
    """Remove the folders of supervisors that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        owner = re.match(rf"{PREFIX}(\d+)-", folder.name)
        if owner and not Path(f"/proc/{owner.group(1)}").exists() and Path("/proc/self").exists():
            remove(folder)
