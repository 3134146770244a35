"""How long a token waits whose request was refused."""

from imagegen.worker.gate import BEHIND_OTHERS_SECONDS, MAX_DELAY_SECONDS
from tests.support.fake_clock import FakeClock
from tests.support.gate_steps import PROBE, closes, probe_leaves, refused
from tests.support.generation_runs import open_gate


def test_the_token_that_was_refused_waits_a_little_longer_than_the_gate(clock: FakeClock) -> None:
    """So another is the next probe, and this one is not left behind when the gate opens."""
    gate = open_gate()
    delays = [2 * closes(gate, refused())]
    for _ in range(6):
        clock.passes(MAX_DELAY_SECONDS)
        probe_leaves(gate)
        delays.append(gate.record_refusal(refused(), PROBE).seconds)

    assert delays == [2, 4, 8, 13, 21, 35, 35]
    assert delays[-1] == MAX_DELAY_SECONDS + BEHIND_OTHERS_SECONDS
