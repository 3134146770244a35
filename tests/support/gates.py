"""Gates of the tests, a clock for them, and what happens to them."""

from imagegen.failures import Reason
from imagegen.replicate.outcomes import Refused
from imagegen.worker.gate import Gate

FREE = 10
PROBE, ANOTHER = 7, 8  # generations


class Clock:
    """Stands in for the module's `time`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += seconds


def refused(wait_seconds: float | None = None) -> Refused:
    return Refused(Reason.UNREACHABLE, "ConnectError", wait_seconds)


def probe_leaves(gate: Gate) -> None:
    """The gate offers a place, and a token is claimed for it."""
    assert gate.allows(FREE) == 1
    gate.admit_new(PROBE)


def probe_is_refused(gate: Gate, clock: Clock, wait_seconds: float | None = None) -> float:
    """The gate's time is up, one token goes ahead, and is refused too. For how long it closes."""
    clock.passes(1000.0)
    probe_leaves(gate)
    return closes(gate, refused(wait_seconds), PROBE)


def closes(gate: Gate, refused: Refused, generation_id: int = ANOTHER) -> float:
    """For how long the gate closes."""
    gate.record_refusal(refused, generation_id)
    return gate.next_seconds()
