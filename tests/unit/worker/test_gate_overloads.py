"""The gate where Replicate accepts, and cannot carry out."""

from imagegen.failures import Reason
from imagegen.replicate.outcomes import Refused
from imagegen.worker.gate import OVERLOADS_IN_A_ROW, Gate
from tests.support.fake_clock import FakeClock
from tests.support.gate_steps import ANOTHER, FREE, PROBE, probe_leaves, refused
from tests.support.generation_runs import open_gate


def ends_badly(gate: Gate, times: int = OVERLOADS_IN_A_ROW, generation_id: int = ANOTHER) -> None:
    for _ in range(times):
        gate.record_overload(Refused(Reason.UNAVAILABLE, "E003"), generation_id)


def test_predictions_that_end_badly_time_and_again_close_the_gate(clock: FakeClock) -> None:
    gate = open_gate()
    ends_badly(gate, OVERLOADS_IN_A_ROW - 1)
    assert gate.allows(FREE) == FREE
    gate.record_accepted()  # another one is accepted, which tells nothing of how it ends
    ends_badly(gate, 1)

    assert gate.allows(FREE) == 0


def test_one_that_ends_well_in_between_keeps_it_open(clock: FakeClock) -> None:
    gate = open_gate()
    for _ in range(OVERLOADS_IN_A_ROW):
        ends_badly(gate, OVERLOADS_IN_A_ROW - 1)
        gate.record_completed()

    assert gate.allows(FREE) == FREE


def test_being_accepted_does_not_open_what_bad_ends_closed_but_a_good_end_does(
    clock: FakeClock,
) -> None:
    gate = open_gate()
    ends_badly(gate)
    clock.passes(1.0)
    probe_leaves(gate)
    gate.record_accepted()
    assert gate.allows(FREE) == 0  # until it is known what becomes of the probe
    gate.record_completed()

    assert gate.allows(FREE) == FREE


def test_a_probe_that_ends_badly_keeps_it_closed_for_longer(clock: FakeClock) -> None:
    gate = open_gate()
    ends_badly(gate)
    clock.passes(1.0)
    probe_leaves(gate)
    gate.record_accepted()
    ends_badly(gate, 1, PROBE)

    assert gate.next_seconds() == 2.0


def test_a_good_end_does_not_open_what_a_refusal_closed(clock: FakeClock) -> None:
    gate = open_gate()
    gate.record_refusal(refused(), ANOTHER)
    gate.record_completed()

    assert gate.allows(FREE) == 0
