"""What happens to a gate in a test: a probe leaves, is refused, and the gate closes."""

from dataclasses import replace

from imagegen.failures import Reason
from imagegen.queue import Claim
from imagegen.replicate.outcomes import Refused
from imagegen.worker.gate import Gate
from tests.support.fake_clock import FakeClock
from tests.support.generation_claims import NEW

FREE = 10
PROBE, ANOTHER = 7, 8  # generations


def of_token(token_id: int, generation_id: int = ANOTHER) -> Claim:
    return replace(NEW, token_id=token_id, generation_id=generation_id)


def refused(wait_seconds: float | None = None) -> Refused:
    return Refused(Reason.UNREACHABLE, "ConnectError", wait_seconds)


def probe_leaves(gate: Gate) -> None:
    """The gate offers a place, and a token is claimed for it."""
    assert gate.allows(FREE) == 1
    gate.admit_new(PROBE)


def probe_is_refused(gate: Gate, clock: FakeClock, wait_seconds: float | None = None) -> float:
    """The gate's time is up, one token goes ahead, and is refused too. For how long it closes."""
    clock.passes(1000.0)
    probe_leaves(gate)
    return closes(gate, refused(wait_seconds), PROBE)


def closes(gate: Gate, refused: Refused, generation_id: int = ANOTHER) -> float:
    """For how long the gate closes."""
    gate.record_refusal(refused, generation_id)
    return gate.next_seconds()
