"""The gate and the pace: throttling, and the turns of those that were claimed before."""

import pytest

from imagegen.failures import Reason
from imagegen.replicate.outcomes import Refused
from imagegen.worker import create_rate
from imagegen.worker import gate as gates
from imagegen.worker.create_rate import CreateRate
from imagegen.worker.endings import Delay
from imagegen.worker.gate import Gate, Permit
from tests.support.fake_clock import FakeClock
from tests.support.gate_steps import ANOTHER, FREE, PROBE, refused
from tests.support.generation_runs import open_gate


def throttled(wait_seconds: float | None = None) -> Refused:
    return Refused(Reason.THROTTLED, "slow down", wait_seconds)


def test_throttling_opens_by_itself_at_half_the_pace(clock: FakeClock) -> None:
    pace = CreateRate(10.0)
    gate = Gate("worker-0", pace)
    before = pace.per_second

    assert gate.record_refusal(throttled(5.0), ANOTHER) == Delay(5.0)
    clock.passes(4.99)
    assert gate.allows(FREE) == 0
    clock.passes(0.02)
    assert gate.allows(FREE) == 1  # no probe: the next may leave before its answer is there
    assert pace.per_second <= before / 2


def test_ten_slots_throttled_at_the_same_moment_halve_the_pace_once(clock: FakeClock) -> None:
    pace = CreateRate(10.0)
    gate = Gate("worker-0", pace)
    before = pace.per_second
    for _ in range(FREE):
        gate.record_refusal(throttled(1.0), ANOTHER)

    assert pace.per_second == before / 2


def test_workers_that_were_throttled_together_do_not_come_back_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gates, "JITTER", 0.2)
    delays = {open_gate().record_refusal(throttled(5.0), ANOTHER).seconds for _ in range(20)}

    assert len(delays) == 20
    assert all(5.0 <= delay <= 6.0 for delay in delays)


def test_an_open_gate_lets_go_at_the_pace_and_tells_when_the_next_may(clock: FakeClock) -> None:
    gate = Gate("worker-0", CreateRate(2.0 / create_rate.SHARE))
    assert gate.allows(FREE) == 1
    gate.admit_new(ANOTHER)

    assert gate.allows(FREE) == 0
    assert 0.0 < gate.next_seconds() <= 0.5
    clock.passes(0.5)
    assert gate.allows(FREE) == 1


def test_a_fallback_takes_its_turn_from_the_next_token(clock: FakeClock) -> None:
    gate = Gate("worker-0", CreateRate(2.0 / create_rate.SHARE))
    assert gate.admit_waiting(ANOTHER) == Permit(0.0)
    clock.passes(0.3)

    assert gate.allows(FREE) == 0


def test_a_fallback_waits_for_the_pace_like_a_new_token(clock: FakeClock) -> None:
    gate = Gate("worker-0", CreateRate(2.0 / create_rate.SHARE))
    gate.admit_new(ANOTHER)

    turn = gate.admit_waiting(ANOTHER)
    clock.passes(turn.wait_seconds)

    assert turn.reason is None
    assert turn.wait_seconds == pytest.approx(0.4)
    assert gate.admit_waiting(ANOTHER) == Permit(0.0)


def test_a_fallback_is_the_probe_where_its_time_has_come_and_no_other_one_is_out(
    clock: FakeClock,
) -> None:
    gate = open_gate()
    gate.record_refusal(refused(), PROBE)
    clock.passes(1.0)

    assert gate.admit_waiting(ANOTHER) == Permit(0.0)
    assert gate.admit_waiting(PROBE).reason is Reason.UNREACHABLE  # one at a time
    assert gate.allows(FREE) == 0
    gate.record_accepted()
    assert gate.allows(FREE) == FREE


def test_a_fallback_does_not_ask_while_the_gate_is_closed(clock: FakeClock) -> None:
    gate = open_gate()
    gate.record_refusal(Refused(Reason.NO_CREDIT, "no"), ANOTHER)
    assert gate.admit_waiting(ANOTHER) == Permit(1.0, Reason.NO_CREDIT)

    gate = open_gate()
    gate.record_refusal(throttled(5.0), ANOTHER)
    assert gate.admit_waiting(ANOTHER) == Permit(5.0)


# Several workers, one pace.


def test_a_token_for_which_another_worker_was_faster_waits_for_its_turn(clock: FakeClock) -> None:
    pace = CreateRate(10.0, 1)
    one, other = Gate("worker-0", pace), Gate("worker-1", pace)
    assert (one.allows(FREE), other.allows(FREE)) == (1, 1)
    one.admit_new(ANOTHER)
    other.admit_new(PROBE)

    assert not one.was_too_late(ANOTHER)
    assert other.was_too_late(PROBE)
    assert not other.was_too_late(PROBE)  # it is told once
    turn = other.admit_waiting(PROBE)
    assert 0.0 < turn.wait_seconds <= 0.11
    clock.passes(turn.wait_seconds)
    assert other.admit_waiting(PROBE) == Permit(0.0)


def test_workers_that_were_throttled_at_the_same_moment_halve_the_pace_once(
    clock: FakeClock,
) -> None:
    pace = CreateRate(10.0, 20)
    gates_of_all = [Gate(f"worker-{number}", pace) for number in range(4)]
    before = pace.per_second
    for gate in gates_of_all:
        gate.record_refusal(throttled(5.0 - 0.1), ANOTHER)

    assert pace.per_second == before / 2


def test_a_throttle_of_one_worker_holds_the_others_back(clock: FakeClock) -> None:
    pace = CreateRate(10.0, 20)
    one, other = Gate("worker-0", pace), Gate("worker-1", pace)
    one.record_refusal(throttled(3.0), ANOTHER)

    assert other.allows(FREE) == 0
    clock.passes(3.0)
    assert other.allows(FREE) == 1
