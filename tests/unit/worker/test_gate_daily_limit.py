"""The gate closes when the daily limit or the daily budget is used up."""

import math

import pytest

from imagegen.failures import Reason
from imagegen.metrics import definitions as metrics
from imagegen.queue import DailyAllowance
from tests.support.fake_clock import FakeClock
from tests.support.gate_steps import FREE
from tests.support.generation_runs import open_gate


def test_a_used_up_daily_limit_closes_the_gate_and_a_new_day_opens_it(clock: FakeClock) -> None:
    gate = open_gate()
    gate.set_allowance(DailyAllowance(3, 3))
    assert gate.allows(FREE) == 3
    gate.set_allowance(DailyAllowance(0, 0))
    assert gate.allows(FREE) == 0
    assert gate.next_seconds() == math.inf
    gate.set_allowance(DailyAllowance(1, 1))
    assert gate.allows(FREE) == 1


def test_what_was_claimed_before_has_its_part_in_the_daily_limit(clock: FakeClock) -> None:
    gate = open_gate()
    gate.set_allowance(DailyAllowance(total=3, for_new_tokens=1))
    assert gate.allows(FREE) == 1
    gate.set_allowance(DailyAllowance(total=3, for_new_tokens=0))

    assert gate.allows(FREE) == 0
    assert gate.next_seconds() == math.inf
    assert metrics.GATE_OPEN.labels("worker-0")._value.get() == 1


def test_success_does_not_open_what_the_daily_limit_closed(clock: FakeClock) -> None:
    gate = open_gate()
    gate.set_allowance(DailyAllowance(0, 0))
    gate.record_accepted()

    assert gate.allows(FREE) == 0


def test_the_daily_budget_is_told_as_the_reason_also_right_after_the_daily_limit(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    gate = open_gate()
    with caplog.at_level("INFO", "imagegen"):
        for allowance in (
            DailyAllowance(0, 0),
            DailyAllowance(0, 0, Reason.DAILY_BUDGET),
            DailyAllowance(2, 2, Reason.DAILY_BUDGET),
        ):
            gate.set_allowance(allowance)

    assert [(each.getMessage(), each.__dict__["reason"]) for each in caplog.records] == [
        ("gate.closed", Reason.DAILY_LIMIT),
        ("gate.opened", Reason.DAILY_LIMIT),
        ("gate.closed", Reason.DAILY_BUDGET),
        ("gate.opened", Reason.DAILY_BUDGET),
    ]
