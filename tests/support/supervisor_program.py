"""A supervisor over tiny children, to run as a process of its own: see `supervisor_runs`.

What its children do is noted in a file, a JSON object a line; its log goes to standard error.
"""

import ctypes
import json
import os
import resource
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.supervisor_children import CHILDREN, NotingChild

if TYPE_CHECKING:
    from imagegen.supervisor.child import ChildContext

PR_SET_CHILD_SUBREAPER = 36


def interrupt_fork(number_of_fork: int) -> None:
    """Let a SIGTERM come in at the very moment of this fork."""
    real_fork, forks = os.fork, iter(range(1, 1000))

    def fork() -> int:
        if next(forks) == number_of_fork:
            os.kill(os.getpid(), signal.SIGTERM)
        return real_fork()

    os.fork = fork


def fail_forks(count: int) -> None:
    """Let the first forks find no memory."""
    real_fork, forks = os.fork, iter(range(count))

    def fork() -> int:
        if next(forks, None) is not None:
            raise OSError("no memory")
        return real_fork()

    os.fork = fork


def main() -> int:
    """Run the supervisor that the argument describes; returns its exit code."""
    asked = json.loads(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # SIGQUIT would leave a core file
    folder = Path(asked["folder"])
    from imagegen import logs  # noqa: PLC0415
    from imagegen.metrics import shared_memory  # noqa: PLC0415

    logs.configure("json", "info", [], "supervisor")
    shared_memory.share(workers=2)
    show_metrics(folder / "metrics")
    if asked["reaps_strangers"]:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    if asked["interrupted_fork"]:
        interrupt_fork(asked["interrupted_fork"])
    fail_forks(asked["failing_forks"])
    return supervise(asked, folder)


def show_metrics(file: Path) -> None:
    """Let a process of its own write them down again and again, as long as this one lives."""
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415

    from imagegen.metrics.shared_memory import SharedCollector  # noqa: PLC0415

    parent = os.getpid()
    if os.fork() != 0:
        return
    os.setsid()  # signals to the supervisor's group are not for it
    registry = CollectorRegistry()
    registry.register(SharedCollector())
    while os.getppid() == parent:
        written = file.with_suffix(".new")
        written.write_bytes(generate_latest(registry))
        written.rename(file)
        time.sleep(0.05)
    os._exit(0)


def supervise(asked: dict[str, Any], folder: Path) -> int:
    # Imported only now: metrics are made when they are imported.
    from imagegen.supervisor import child, supervisor  # noqa: PLC0415

    for name, value in asked["constants"].items():
        setattr(supervisor if hasattr(supervisor, name) else child, name, value)
    children = asked["children"]

    def run(default: str, context: "ChildContext") -> None:
        CHILDREN[children.get(context.role, default)](NotingChild(context, folder))

    return supervisor.Supervisor(
        partial(run, "is_quiet"),
        partial(run, children["worker-0"]),
        workers=len(children.keys() - {"exporter", supervisor.SPARE}),
        name="test",
        grace_seconds=asked["grace_seconds"],
        watchdog_seconds=asked["watchdog_seconds"],
    ).run()


if __name__ == "__main__":
    sys.exit(main())
