"""A supervisor that stands still is noticed by its children."""

import os
import signal
import time
from pathlib import Path

from imagegen.supervisor.pulse import Pulse
from tests.support.supervisor_runs import running_supervisor


def test_a_beat_is_seen_in_a_fork() -> None:
    pulse = Pulse()
    time.sleep(0.05)
    before = pulse.silent_seconds()

    child = os.fork()
    if child == 0:
        pulse.beat()
        os._exit(0)
    os.waitpid(child, 0)

    assert before >= 0.05
    assert pulse.silent_seconds() < before + 0.05


def test_a_supervisor_that_goes_on_has_a_pulse_and_one_that_stands_still_has_none(
    tmp_path: Path,
) -> None:
    children = {"exporter": "watches_its_supervisor", "worker-0": "sleeps"}
    with running_supervisor(tmp_path, children, constants={"PULSE_SECONDS": 0.05}) as running:
        running.wait_for_notes("heard_the_supervisor", 20)
        assert running.notes("missed_the_supervisor") == []

        running.tell(signal.SIGSTOP)
        running.wait_for_notes("missed_the_supervisor")
        running.tell(signal.SIGCONT)
