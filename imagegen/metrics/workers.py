"""The workers of a supervisor, read back from its metrics: for the page, status and readiness."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client.samples import Sample


@dataclass(frozen=True)
class WorkerRow:
    """One of a supervisor's workers. Without a pid it has no process, or one that just started."""

    slot: str  # as metrics label it: worker-0
    pid: int | None = None
    started_at: float | None = None  # Unix time
    closed_by: tuple[str, ...] = ()  # why its gate is closed; empty while it is open
    busy: int | None = 0  # tokens at work; None if unknown
    restarts: Mapping[str, int] = field(default_factory=dict)  # by cause
    starting: bool = False  # its process has set no metric yet
    waits_for_database: bool = False

    @property
    def alive(self) -> bool:
        return self.pid is not None


@dataclass(frozen=True)
class Workers:
    """All workers of a supervisor."""

    processes: int | None  # the number alive; None if the samples are not a supervisor's
    rows: list[WorkerRow]


def workers_in(samples: Iterable[Sample]) -> Workers:
    """Return every worker that is alive or should be.

    An older imagegen has no `imagegen_workers_wanted`: its workers are those that have or had a
    process.
    """
    # By metric, then label `slot`, then the other label; a missing label is "".
    found: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for sample in samples:
        other = sample.labels.get("cause", sample.labels.get("reason", ""))
        found[sample.name][sample.labels.get("slot", "")][other] = sample.value

    def value(name: str, slot: str = "") -> float | None:
        return found[name].get(slot, {}).get("")

    def count(name: str, slot: str = "") -> int | None:
        number = value(name, slot)
        return None if number is None else int(number)

    processes, wanted = count("imagegen_workers"), count("imagegen_workers_wanted")
    pids, gates = found["imagegen_worker_pid"], found["imagegen_gate_closed"]
    restarts = found["imagegen_worker_restarts_total"]
    expected = {*restarts} if wanted is None else {f"worker-{number}" for number in range(wanted)}
    # A worker that was replaced on purpose, or died once, is restarted before the supervisor counts
    # again: it is starting, not missing. Workers above the wanted number are being retired.
    none_missing = (
        processes is not None
        and wanted is not None
        and processes - len(pids.keys() - expected) >= wanted
    )
    slots = sorted(expected | pids.keys(), key=lambda slot: (len(slot), slot))  # 2 before 10
    rows = [
        WorkerRow(
            slot,
            pid=count("imagegen_worker_pid", slot),
            started_at=value("imagegen_worker_started_seconds", slot),
            closed_by=tuple(sorted(reason for reason, is_set in gates[slot].items() if is_set)),
            busy=count("imagegen_slots_busy", slot) or 0,
            restarts={cause: int(times) for cause, times in restarts[slot].items()},
            starting=none_missing and slot not in pids,
            waits_for_database=value("imagegen_database_away", slot) == 1,
        )
        for slot in slots
    ]
    return Workers(processes, rows)
