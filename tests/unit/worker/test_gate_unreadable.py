"""The gate where predictions are paid for, and what they bring cannot be read."""

import logging
from itertools import count

import pytest

from imagegen.failures import Reason
from imagegen.metrics import definitions as metrics
from imagegen.replicate.outcomes import Refused
from imagegen.worker.create_rate import CreateRate
from imagegen.worker.gate import Gate
from imagegen.worker.unreadable_outputs import MAX_UNREADABLE_SECONDS
from tests.support.fake_clock import FakeClock
from tests.support.gate_steps import ANOTHER, FREE, PROBE, of_token, probe_leaves, refused
from tests.support.generation_runs import open_gate

MESSAGE = "its output holds no image"


TOKENS = count()


def unreadable(gate: Gate, generation_id: int = ANOTHER) -> bool:
    """Another token's output cannot be read. Whether it is one of several."""
    return gate.record_unreadable(MESSAGE, of_token(next(TOKENS), generation_id))


@pytest.fixture
def gate(clock: FakeClock) -> Gate:
    """A gate that two outputs in a row have closed."""
    gate = open_gate()
    unreadable(gate)
    unreadable(gate)
    return gate


def probe_is_unreadable(gate: Gate) -> None:
    probe_leaves(gate)
    gate.record_accepted()
    unreadable(gate, PROBE)


def test_the_second_in_a_row_closes_the_gate_with_its_reason(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    gate = Gate("worker-7", CreateRate(1e9))
    unreadable(gate)
    assert gate.allows(FREE) == FREE
    unreadable(gate)

    assert gate.allows(FREE) == 0
    assert metrics.GATE_CLOSED.labels("worker-7", Reason.UNREADABLE)._value.get() == 1
    [closed] = [record for record in caplog.records if record.getMessage() == "gate.closed"]
    assert (closed.__dict__["reason"], closed.__dict__["error"]) == (Reason.UNREADABLE, MESSAGE)


def test_one_output_that_is_read_time_and_again_is_one(clock: FakeClock) -> None:
    gate = open_gate()
    for _ in range(5):
        assert not gate.record_unreadable(MESSAGE, of_token(1))
    assert gate.allows(FREE) == FREE

    assert gate.record_unreadable(MESSAGE, of_token(2))
    assert gate.record_unreadable(MESSAGE, of_token(1))
    assert gate.next_seconds() == 20.0


def test_an_image_in_between_keeps_it_open(clock: FakeClock) -> None:
    gate = open_gate()
    for _ in range(5):
        unreadable(gate)
        gate.record_image()

    assert gate.allows(FREE) == FREE


def test_a_failure_in_between_proves_nothing(clock: FakeClock) -> None:
    gate = open_gate()
    unreadable(gate)
    gate.record_accepted()  # it is censored, for example: nothing was paid for
    unreadable(gate)

    assert gate.allows(FREE) == 0


def test_probes_go_one_at_a_time_with_growing_delays(clock: FakeClock, gate: Gate) -> None:
    delays = []
    for _ in range(10):
        delays.append(gate.next_seconds())
        clock.passes(gate.next_seconds())
        probe_is_unreadable(gate)

    assert delays == [20.0 * 2**n for n in range(8)] + [MAX_UNREADABLE_SECONDS] * 2


def test_what_was_in_flight_when_it_closed_does_not_put_off_the_probe(gate: Gate) -> None:
    for _ in range(8):
        unreadable(gate)

    assert gate.next_seconds() == 20.0


def test_being_accepted_or_failing_does_not_open_it_but_an_image_does(
    clock: FakeClock, gate: Gate
) -> None:
    clock.passes(20.0)
    probe_leaves(gate)
    gate.record_accepted()
    assert gate.allows(FREE) == 0
    gate.record_image()

    assert gate.allows(FREE) == FREE
    unreadable(gate)
    unreadable(gate)
    assert gate.next_seconds() == 20.0  # and its delays begin anew


def test_a_probe_that_fails_otherwise_makes_way_for_the_next_probe(
    clock: FakeClock, gate: Gate
) -> None:
    clock.passes(20.0)
    probe_leaves(gate)
    gate.record_accepted()
    gate.release_probe(PROBE)

    assert gate.allows(FREE) == 1


@pytest.mark.parametrize("reason", [Reason.THROTTLED, Reason.UNREACHABLE, Reason.NO_CREDIT])
def test_a_probe_that_is_refused_ends_no_trial(
    clock: FakeClock, gate: Gate, reason: Reason
) -> None:
    clock.passes(20.0)
    probe_leaves(gate)
    gate.record_refusal(Refused(reason, "no"), PROBE)
    gate.release_probe(PROBE)
    clock.passes(120.0)

    assert gate.allows(FREE) == 1
    probe_is_unreadable(gate)
    assert gate.allows(FREE) == 0
    assert gate.next_seconds() == 40.0


def test_a_probe_that_is_accepted_after_a_refusal_is_still_the_only_one(
    clock: FakeClock, gate: Gate
) -> None:
    clock.passes(20.0)
    probe_leaves(gate)
    gate.record_refusal(refused(), PROBE)
    clock.passes(120.0)
    probe_leaves(gate)
    gate.record_accepted()
    clock.passes(120.0)

    assert gate.allows(FREE) == 0
    gate.release_probe(PROBE)
    assert gate.allows(FREE) == 1


def test_with_no_token_waiting_it_shows_as_open_and_admits_one_all_the_same(
    clock: FakeClock, gate: Gate
) -> None:
    clock.passes(20.0)
    assert gate.allows(FREE) == 1
    gate.reset_idle()

    assert metrics.GATE_CLOSED.labels("worker-0", Reason.UNREADABLE)._value.get() == 0
    assert gate.allows(FREE) == 1
    probe_is_unreadable(gate)
    assert gate.allows(FREE) == 0
    assert metrics.GATE_CLOSED.labels("worker-0", Reason.UNREADABLE)._value.get() == 1
    assert gate.next_seconds() == 40.0


def test_a_fallback_that_waits_may_be_the_probe(clock: FakeClock, gate: Gate) -> None:
    assert gate.admit_waiting(ANOTHER).reason is Reason.UNREADABLE
    clock.passes(20.0)

    assert gate.admit_waiting(ANOTHER).wait_seconds == 0.0
    assert gate.admit_waiting(PROBE).wait_seconds > 0.0
