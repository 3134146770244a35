"""The gate where something between imagegen and Replicate refuses requests."""

from imagegen.failures import Reason
from imagegen.replicate.outcomes import Refused
from imagegen.worker.endings import Delay
from tests.support.fake_clock import FakeClock
from tests.support.gate_steps import FREE, of_token, probe_leaves
from tests.support.generation_runs import open_gate

PAGE = Refused(Reason.INTERCEPTED, "HTTP 403 a firewall")


def test_a_prompt_that_a_firewall_refuses_makes_way_and_holds_up_no_other(clock: FakeClock) -> None:
    gate = open_gate()
    delays = {gate.record_intercepted(PAGE, of_token(1)) for _ in range(5)}

    assert gate.allows(FREE) == FREE
    assert delays == {Delay(1.0, escalates=True)}


def test_what_another_token_meets_too_closes_the_gate_until_one_is_accepted(
    clock: FakeClock,
) -> None:
    gate = open_gate()
    gate.record_intercepted(PAGE, of_token(1))
    gate.record_intercepted(PAGE, of_token(2))
    assert gate.allows(FREE) == 0
    clock.passes(1.0)
    probe_leaves(gate)
    gate.record_accepted()

    assert gate.allows(FREE) == FREE


def test_an_accepted_request_in_between_keeps_it_open(clock: FakeClock) -> None:
    gate = open_gate()
    for token_id in range(5):
        gate.record_intercepted(PAGE, of_token(token_id))
        gate.record_accepted()

    assert gate.allows(FREE) == FREE
