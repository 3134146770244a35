"""The workers as they are read back from a supervisor's metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from imagegen.metrics.workers import WorkerRow, Workers, workers_in
from imagegen.web.app import with_tokens
from tests.support.page_values import worker

OURS = "host:1-ab"


def metrics(processes: int, wanted: int, pids: dict[str, int]) -> CollectorRegistry:
    """What a supervisor tells of its workers: how many live, how many should, and the pids of
    those that have begun."""
    registry = CollectorRegistry()
    Gauge("imagegen_workers", "", registry=registry).set(processes)
    Gauge("imagegen_workers_wanted", "", registry=registry).set(wanted)
    gauge = Gauge("imagegen_worker_pid", "", ["slot"], registry=registry)
    for slot, pid in pids.items():
        gauge.labels(slot).set(pid)
    return registry


def read(registry: CollectorRegistry) -> Workers:
    return workers_in(sample for metric in registry.collect() for sample in metric.samples)


def test_workers_are_what_metrics_and_the_ledger_tell_of_them() -> None:
    registry = metrics(processes=2, wanted=2, pids={"worker-0": 100, "worker-1": 101})
    closed = Gauge("imagegen_gate_closed", "", ["slot", "reason"], registry=registry)
    restarts = Counter("imagegen_worker_restarts", "", ["slot", "cause"], registry=registry)
    closed.labels("worker-0", "no_credit").set(1)
    closed.labels("worker-0", "throttled").set(0)
    restarts.labels("worker-1", "SIGKILL").inc(2)
    tokens = {f"{OURS}:worker-1.1": 2, f"{OURS}:worker-1.2": 1, "other:1-cd:worker-0.1": 5, "": 4}

    rows, elsewhere = with_tokens(read(registry).rows, tokens, OURS)

    assert rows == [
        WorkerRow("worker-0", 100, closed_by=("no_credit",), busy=0),
        WorkerRow("worker-1", 101, busy=3, restarts={"SIGKILL": 2}),
    ]
    assert elsewhere == 5


def test_a_worker_that_was_given_up_is_none_however_often_it_was_replaced_before() -> None:
    registry = metrics(processes=1, wanted=1, pids={"worker-0": 100})
    restarts = Counter("imagegen_worker_restarts", "", ["slot", "cause"], registry=registry)
    restarts.labels("worker-1", "hung").inc()

    assert read(registry).rows == [worker("worker-0")]


def test_a_worker_that_is_on_its_way_out_is_still_there() -> None:
    registry = metrics(processes=2, wanted=1, pids={"worker-0": 100, "worker-1": 101})

    assert [row.slot for row in read(registry).rows] == ["worker-0", "worker-1"]


def test_who_waits_to_be_started_again_is_missing_and_who_has_just_been_started_is_not() -> None:
    begun = {"worker-0": 100}

    _, dead = read(metrics(processes=1, wanted=2, pids=begun)).rows
    _, new = read(metrics(processes=2, wanted=2, pids=begun)).rows

    assert dead == WorkerRow("worker-1")
    assert new == WorkerRow("worker-1", starting=True)


def test_one_that_drains_does_not_stand_in_for_one_that_died() -> None:
    registry = metrics(processes=2, wanted=2, pids={"worker-0": 100, "worker-2": 102})

    assert WorkerRow("worker-1") in read(registry).rows


def test_other_metrics_are_of_no_supervisor() -> None:
    assert read(CollectorRegistry()) == Workers(None, [])
