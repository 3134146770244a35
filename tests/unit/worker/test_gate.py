"""The gate: refusals hold back new tokens, one probe goes ahead, success opens it again."""

import pytest

from imagegen.failures import Reason
from imagegen.metrics import definitions as metrics
from imagegen.queue import DailyAllowance
from imagegen.replicate.outcomes import Refused
from imagegen.worker.create_rate import CreateRate
from imagegen.worker.endings import Delay
from imagegen.worker.gate import Gate
from tests.support.fake_clock import FakeClock
from tests.support.gate_steps import (
    ANOTHER,
    FREE,
    PROBE,
    closes,
    probe_is_refused,
    probe_leaves,
    refused,
)
from tests.support.generation_runs import open_gate


def test_an_open_gate_lets_as_many_go_as_there_are_free_slots(clock: FakeClock) -> None:
    assert open_gate().allows(FREE) == FREE


def test_a_refusal_holds_back_every_new_token_for_a_second(clock: FakeClock) -> None:
    gate = open_gate()

    assert closes(gate, refused()) == 1.0
    assert gate.allows(FREE) == 0
    clock.passes(0.99)
    assert gate.allows(FREE) == 0


def test_then_one_token_goes_ahead_alone(clock: FakeClock) -> None:
    gate = open_gate()
    gate.record_refusal(refused(), ANOTHER)
    clock.passes(1.0)

    probe_leaves(gate)
    assert gate.allows(FREE) == 0
    clock.passes(3600.0)
    assert gate.allows(FREE) == 0  # however long the probe takes


def test_nothing_goes_ahead_where_no_slot_is_free(clock: FakeClock) -> None:
    gate = open_gate()
    gate.record_refusal(refused(), ANOTHER)
    clock.passes(1.0)

    assert gate.allows(0) == 0


def test_success_opens_the_gate_for_all(clock: FakeClock) -> None:
    gate = open_gate()
    gate.record_refusal(refused(), ANOTHER)
    assert probe_is_refused(gate, clock) == 2.0
    gate.record_accepted()

    assert gate.allows(FREE) == FREE
    assert closes(gate, refused()) == 1.0  # what was before is forgotten


def test_while_refusals_go_on_the_delay_doubles_to_half_a_minute(clock: FakeClock) -> None:
    gate = open_gate()
    delays = [closes(gate, refused())]
    delays += [probe_is_refused(gate, clock) for _ in range(7)]

    assert delays == [1, 2, 4, 8, 16, 30, 30, 30]


def test_ten_slots_refused_at_the_same_moment_count_as_one_refusal(clock: FakeClock) -> None:
    gate = open_gate()

    assert [closes(gate, refused()) for _ in range(FREE)] == [1.0] * FREE
    clock.passes(1.0)
    assert gate.allows(FREE) == 1


@pytest.mark.parametrize(("hint", "waited"), [(5.0, 5.0), (0.0, 1.0), (86_400.0, 120.0)])
def test_the_gate_reopens_when_the_answer_says_within_reason(
    clock: FakeClock, hint: float, waited: float
) -> None:
    gate = open_gate()

    assert closes(gate, refused(hint)) == waited
    clock.passes(waited - 0.01)
    assert gate.allows(FREE) == 0
    clock.passes(0.01)
    assert gate.allows(FREE) == 1


def test_a_hint_counts_for_a_probe_as_well(clock: FakeClock) -> None:
    gate = open_gate()
    gate.record_refusal(refused(), ANOTHER)

    assert probe_is_refused(gate, clock, wait_seconds=5.0) == 5.0


def test_a_refusal_of_what_left_before_makes_nobody_wait_longer(clock: FakeClock) -> None:
    gate = open_gate()
    gate.record_refusal(refused(), ANOTHER)
    clock.passes(0.5)

    assert closes(gate, refused()) == 0.5
    clock.passes(0.5)
    assert gate.allows(FREE) == 1


def test_a_probe_that_never_asked_replicate_gives_its_place_back_at_once(clock: FakeClock) -> None:
    gate = open_gate()
    gate.record_refusal(refused(), ANOTHER)
    clock.passes(1.0)
    probe_leaves(gate)
    gate.release_probe(PROBE)

    assert gate.allows(FREE) == 1


def test_only_the_probe_gives_its_place_back(clock: FakeClock) -> None:
    gate = open_gate()
    gate.record_refusal(refused(), ANOTHER)
    clock.passes(1.0)
    probe_leaves(gate)
    gate.release_probe(ANOTHER)

    assert gate.allows(FREE) == 0


def test_a_probe_that_was_refused_and_comes_back_shortens_no_wait(clock: FakeClock) -> None:
    gate = open_gate()
    gate.record_refusal(refused(), ANOTHER)
    assert probe_is_refused(gate, clock) == 2.0
    gate.release_probe(PROBE)

    assert gate.allows(FREE) == 0


def test_a_probe_that_opened_the_gate_and_comes_back_leaves_it_open(clock: FakeClock) -> None:
    gate = open_gate()
    gate.record_refusal(refused(), ANOTHER)
    clock.passes(1.0)
    probe_leaves(gate)
    gate.record_accepted()
    gate.release_probe(PROBE)

    assert gate.allows(FREE) == FREE


def test_a_claim_through_an_open_gate_closes_nothing(clock: FakeClock) -> None:
    gate = open_gate()
    assert gate.allows(FREE) == FREE
    gate.admit_new(PROBE)

    assert gate.allows(FREE) == FREE


def test_a_claim_made_while_the_gate_was_open_is_no_probe_once_it_closes(clock: FakeClock) -> None:
    gate = open_gate()
    gate.allows(FREE)
    gate.record_refusal(refused(), ANOTHER)
    gate.admit_new(ANOTHER)

    assert closes(gate, refused()) == 1.0  # a probe's refusal would double it
    clock.passes(1.0)
    assert gate.allows(FREE) == 1


def test_the_gauge_shows_whether_the_gate_is_open(clock: FakeClock) -> None:
    gate = Gate("worker-7", CreateRate(1e9))
    gauge = metrics.GATE_OPEN.labels("worker-7")
    shown = [gauge._value.get()]
    gate.record_refusal(refused(), ANOTHER)
    shown.append(gauge._value.get())
    gate.record_accepted()
    shown.append(gauge._value.get())

    assert shown == [1, 0, 1]


def test_a_late_refusal_of_another_does_not_pass_for_the_probes(clock: FakeClock) -> None:
    gate = open_gate()
    gate.record_refusal(refused(), ANOTHER)
    clock.passes(1.0)
    probe_leaves(gate)

    gate.record_refusal(refused(), ANOTHER)

    assert gate.allows(FREE) == 0  # the probe is still out
    assert closes(gate, refused(), PROBE) == 2.0


def test_a_gate_whose_probe_nobody_is_there_for_opens(clock: FakeClock) -> None:
    gate = open_gate()
    gate.record_refusal(refused(), ANOTHER)
    clock.passes(1.0)
    assert gate.allows(FREE) == 1
    assert gate.offers_probe
    gate.reset_idle()

    assert gate.allows(FREE) == FREE


def test_a_refusal_for_another_reason_meanwhile_changes_no_reason(clock: FakeClock) -> None:
    gate = Gate("worker-9", CreateRate(1e9))
    gate.record_refusal(refused(), ANOTHER)
    gate.record_refusal(Refused(Reason.NO_CREDIT, "no"), ANOTHER)

    assert metrics.GATE_CLOSED.labels("worker-9", Reason.UNREACHABLE)._value.get() == 1
    assert metrics.GATE_CLOSED.labels("worker-9", Reason.NO_CREDIT)._value.get() == 0


# The token that was refused.


def test_the_refused_token_waits_longer_than_the_gate_so_that_another_one_tries(
    clock: FakeClock,
) -> None:
    gate = open_gate()
    first = gate.record_refusal(refused(), ANOTHER)
    others = gate.record_refusal(refused(), ANOTHER)
    clock.passes(1.0)
    probe_leaves(gate)
    probe = gate.record_refusal(refused(), PROBE)

    # The first one alone was refused while others passed: only its delay is its own, and grows.
    assert (first, others, probe) == (Delay(2.0, escalates=True), Delay(1.0), Delay(4.0))


# The daily limit.


def test_each_reason_is_told_once_when_it_closes_and_once_when_it_opens(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    gate = open_gate()
    with caplog.at_level("INFO", "imagegen"):
        for left in (5, 0, 0, 0, 4):
            gate.set_allowance(DailyAllowance(left, left))
        for _ in range(3):
            gate.record_refusal(refused(), ANOTHER)
        gate.record_accepted()
        gate.record_accepted()

    told = [(each.getMessage(), each.__dict__["reason"]) for each in caplog.records]
    assert told == [
        ("gate.closed", Reason.DAILY_LIMIT),
        ("gate.opened", Reason.DAILY_LIMIT),
        ("gate.closed", Reason.UNREACHABLE),
        ("gate.opened", Reason.UNREACHABLE),
    ]


def test_the_gauge_tells_for_what_reason_it_is_closed(clock: FakeClock) -> None:
    gate = Gate("worker-8", CreateRate(1e9))
    gauge = metrics.GATE_CLOSED.labels("worker-8", Reason.UNREACHABLE)
    gate.record_refusal(refused(), ANOTHER)
    shown = [gauge._value.get()]
    gate.record_accepted()
    shown.append(gauge._value.get())

    assert shown == [1, 0]
