"""The gate where Replicate accepts predictions, and they fail for everybody."""

from imagegen.failures import INCIDENT_SECONDS, Kind, Reason
from imagegen.metrics import definitions as metrics
from imagegen.replicate.outcomes import Failed
from imagegen.worker.endings import Delay
from imagegen.worker.gate import FAILING_TOKENS, Gate
from tests.support.fake_clock import FakeClock
from tests.support.gate_steps import ANOTHER, FREE, PROBE, of_token, probe_leaves, refused
from tests.support.generation_runs import open_gate

BUSY = Failed(Kind.OVERLOADED, "E003")
SETTING = Failed(Kind.MISCONFIGURED, "E4875")


def fail(gate: Gate, tokens: int = FAILING_TOKENS) -> None:
    for token_id in range(tokens):
        gate.record_failure(BUSY, of_token(token_id))


def test_failures_of_several_tokens_without_an_image_close_the_gate(clock: FakeClock) -> None:
    gate = open_gate()
    fail(gate, FAILING_TOKENS - 1)
    assert gate.allows(FREE) == FREE
    gate.record_accepted()  # another one is accepted, which tells nothing of how it ends
    fail(gate)

    assert gate.allows(FREE) == 0
    assert metrics.GATE_CLOSED.labels("worker-0", Reason.FAILING)._value.get() == 1


def test_one_token_whose_predictions_fail_holds_up_no_other(clock: FakeClock) -> None:
    gate = open_gate()
    for _ in range(20):
        assert gate.record_failure(BUSY, of_token(1)) == Delay(0.0)

    assert gate.allows(FREE) == FREE


def test_an_image_in_between_keeps_it_open(clock: FakeClock) -> None:
    gate = open_gate()
    for _ in range(5):
        fail(gate, FAILING_TOKENS - 1)
        gate.record_image()

    assert gate.allows(FREE) == FREE


def test_probes_go_one_at_a_time_up_to_ten_minutes_apart(clock: FakeClock) -> None:
    gate = open_gate()
    fail(gate)
    delays = []
    for token_id in range(7):
        delays.append(gate.next_seconds())
        clock.passes(gate.next_seconds())
        probe_leaves(gate)
        gate.record_accepted()
        gate.record_failure(BUSY, of_token(token_id, PROBE))

    assert delays == [*INCIDENT_SECONDS, 600.0, 600.0]


def test_the_token_that_was_the_probe_lets_another_be_the_next(clock: FakeClock) -> None:
    gate = open_gate()
    fail(gate)
    clock.passes(20.0)
    probe_leaves(gate)

    delay = gate.record_failure(BUSY, of_token(1, PROBE))

    assert delay.seconds > gate.next_seconds() == 60.0


def test_being_accepted_does_not_open_it_but_an_image_does(clock: FakeClock) -> None:
    gate = open_gate()
    fail(gate)
    clock.passes(20.0)
    probe_leaves(gate)
    gate.record_accepted()
    assert gate.allows(FREE) == 0  # until it is known what becomes of the probe
    assert not gate.take_recovery()
    gate.record_image()

    assert gate.allows(FREE) == FREE
    assert gate.take_recovery()
    assert not gate.take_recovery()
    fail(gate)
    assert gate.next_seconds() == 20.0  # its delays begin anew


def test_an_image_does_not_open_what_a_refusal_closed(clock: FakeClock) -> None:
    gate = open_gate()
    gate.record_refusal(refused(), ANOTHER)
    gate.record_image()

    assert gate.allows(FREE) == 0


def test_what_every_prediction_has_in_common_closes_it_at_once(clock: FakeClock) -> None:
    gate = open_gate()
    gate.record_failure(SETTING, of_token(1))
    clock.passes(1.0)
    probe_leaves(gate)
    gate.record_accepted()
    assert gate.allows(FREE) == 0
    gate.record_image()

    assert gate.allows(FREE) == FREE


def test_a_prediction_that_fails_while_it_is_closed_for_another_reason_changes_nothing(
    clock: FakeClock,
) -> None:
    gate = open_gate()
    gate.record_refusal(refused(), ANOTHER)
    fail(gate)
    clock.passes(1.0)
    probe_leaves(gate)
    gate.record_accepted()

    assert gate.allows(FREE) == FREE
