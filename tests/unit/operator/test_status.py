"""What /metrics tells of the workers."""

import pytest

from imagegen.metrics.workers import WorkerRow
from imagegen.operator.status import NoSupervisorError, parse_workers, read_workers
from tests.support.canned_server import canned, with_body

METRICS = """
# TYPE imagegen_workers gauge
imagegen_workers 2.0
# TYPE imagegen_worker_pid gauge
imagegen_worker_pid{slot="worker-10"} 110.0
imagegen_worker_pid{slot="worker-2"} 102.0
# TYPE imagegen_worker_started_seconds gauge
imagegen_worker_started_seconds{slot="worker-2"} 1.7639e+09
# TYPE imagegen_slots_busy gauge
imagegen_slots_busy{slot="worker-2"} 3.0
# TYPE imagegen_worker_restarts_total counter
imagegen_worker_restarts_total{cause="SIGKILL",slot="worker-2"} 2.0
imagegen_worker_restarts_total{cause="hung",slot="worker-2"} 1.0
imagegen_worker_restarts_total{cause="exit-1",slot="worker-3"} 9.0
# TYPE imagegen_gate_closed gauge
imagegen_gate_closed{reason="throttled",slot="worker-2"} 1.0
imagegen_gate_closed{reason="daily_limit",slot="worker-2"} 1.0
imagegen_gate_closed{reason="unauthorized",slot="worker-2"} 0.0
"""
# Before these counts had a slot.
OLDER = "imagegen_workers 2.0\nimagegen_slots_busy 3.0\n"


def test_workers_are_found_where_a_supervisor_listens_on_all_addresses() -> None:
    with canned(with_body(METRICS.encode())) as server:
        port = int(server.url.rpartition(":")[2])

        assert len(read_workers("::", port)) == 3


def test_workers_are_told_in_the_order_of_their_places_also_one_that_is_down() -> None:
    second, third, tenth = parse_workers(METRICS)

    assert second == WorkerRow(
        "worker-2", pid=102, started_at=1.7639e9, restarts={"SIGKILL": 2, "hung": 1}, busy=3,
        closed_by=("daily_limit", "throttled"),
    )  # fmt: skip
    assert third == WorkerRow("worker-3", None, None, restarts={"exit-1": 9}, busy=0, closed_by=())
    assert tenth == WorkerRow("worker-10", 110, None, restarts={}, busy=0, closed_by=())


def test_a_place_that_was_given_up_is_not_told_as_down() -> None:
    wanted = f"{METRICS}# TYPE imagegen_workers_wanted gauge\nimagegen_workers_wanted 3.0\n"

    assert [worker.slot for worker in parse_workers(wanted)] == ["worker-2", "worker-10"]


def test_an_older_supervisor_is_one_whose_workers_are_not_known() -> None:
    assert parse_workers(OLDER) == []


@pytest.mark.parametrize(
    "answer",
    [
        with_body(b"go_goroutines 8\n"),
        with_body(b"{"),
        with_body(b"", 500),
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"",
    ],
)
def test_whatever_else_answers_is_no_supervisor(answer: bytes) -> None:
    with canned(answer) as server, pytest.raises(NoSupervisorError, match="is no supervisor"):
        read_workers("127.0.0.1", int(server.url.rpartition(":")[2]))


def test_where_nobody_listens_the_place_is_named() -> None:
    with pytest.raises(NoSupervisorError, match=r"no supervisor answers on \[::1\]:1"):
        read_workers("::1", 1)
