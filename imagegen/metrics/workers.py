"""The workers of this supervisor and their gates, as the metrics tell them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry


@dataclass(frozen=True)
class Place:
    """A place for a worker."""

    slot: str
    alive: bool
    closed: tuple[str, ...] = ()  # why its gate is closed
    busy: int | None = None  # tokens at work; None where the database does not tell
    restarts: Mapping[str, int] = field(default_factory=dict)  # by cause
    starting: bool = False  # its process has not said a word yet


def read_places(
    shared: CollectorRegistry, supervisor: str, held: Mapping[str, int] | None
) -> list[Place]:
    """Every place that should be filled, and one that is not yet empty.

    `held` are the tokens at work by worker; the names of ours begin with the supervisor's.
    """
    processes = wanted = 0
    alive: set[str] = set()
    closed: dict[str, list[str]] = {}
    restarts: dict[str, dict[str, int]] = {}
    for sample in (sample for metric in shared.collect() for sample in metric.samples):
        slot = sample.labels.get("slot", "")
        match sample.name:
            case "imagegen_workers":
                processes = int(sample.value)
            case "imagegen_workers_wanted":
                wanted = int(sample.value)
            case "imagegen_gate_open":
                alive.add(slot)
            case "imagegen_gate_closed" if sample.value:
                closed.setdefault(slot, []).append(sample.labels["reason"])
            case "imagegen_worker_restarts_total":
                restarts.setdefault(slot, {})[sample.labels["cause"]] = int(sample.value)
    expected = {f"worker-{number}" for number in range(wanted)}
    # Who ends on purpose, or for the first time, has a successor before its supervisor counts
    # again. Those beyond the expected are on their way out.
    nobody_is_missing = processes - len(alive - expected) >= wanted
    return [
        Place(
            slot,
            slot in alive,
            tuple(sorted(closed.get(slot, []))),
            None if held is None else _sum_of(held, f"{supervisor}:{slot}."),
            restarts.get(slot, {}),
            nobody_is_missing and slot not in alive,
        )
        for slot in sorted(expected | alive, key=_number)
    ]


def held_elsewhere(held: Mapping[str, int], supervisor: str) -> int:
    """Tokens at work with the workers of other supervisors."""
    named = sum(tokens for worker, tokens in held.items() if worker)
    return named - _sum_of(held, f"{supervisor}:")


def _sum_of(held: Mapping[str, int], prefix: str) -> int:
    return sum(tokens for worker, tokens in held.items() if worker.startswith(prefix))


def _number(slot: str) -> tuple[int, str]:
    return len(slot), slot
