"""One place in the supervisor: when it is filled again, and that its beats hold nobody up."""

import signal
from pathlib import Path

import pytest

from imagegen.supervisor.child import restart_delay_seconds
from tests.support.supervisor_runs import running_supervisor

MANY = 1000


@pytest.mark.parametrize(
    ("failed_starts", "delay"),
    [(0, 0), (1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 30), (7, 30), (10**6, 30)],
)
def test_the_delay_doubles_to_half_a_minute(failed_starts: int, delay: float) -> None:
    assert restart_delay_seconds(failed_starts) == pytest.approx(delay, rel=0.1)


@pytest.mark.parametrize("failed_starts", [1, 6])
def test_workers_that_died_together_do_not_return_together(failed_starts: int) -> None:
    delays = [restart_delay_seconds(failed_starts) for _ in range(MANY)]

    middle = {1: 1.0, 6: 30.0}[failed_starts]
    assert 0.9 * middle <= min(delays) < 0.95 * middle
    assert 1.05 * middle < max(delays) <= 1.1 * middle


def test_the_first_death_costs_no_time() -> None:
    assert {restart_delay_seconds(0) for _ in range(MANY)} == {0.0}


def test_a_worker_never_waits_for_a_supervisor_that_does_not_listen(tmp_path: Path) -> None:
    children = {"worker-0": "beats_faster_than_anybody_reads"}
    with running_supervisor(tmp_path, children) as running:
        running.wait_for_starts(1)
        running.tell(signal.SIGSTOP)
        running.let_begin("worker-0")

        running.wait_for_notes("beaten often")
