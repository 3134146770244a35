"""How fast requests other than creates may leave."""

import pytest

from imagegen.replicate.request_budget import RequestBudget
from tests.support.fake_clock import FakeClock


def test_a_budget_lets_its_share_leave_and_the_rest_wait(clock: FakeClock) -> None:
    budget = RequestBudget(10.0, clock.passes)
    began = clock.now
    for _ in range(110):
        budget.wait()

    assert clock.now - began == pytest.approx(10.0, abs=0.2)


def test_what_was_not_asked_for_is_not_saved_up(clock: FakeClock) -> None:
    waited: list[float] = []
    budget = RequestBudget(10.0, waited.append)
    clock.passes(3600.0)
    for _ in range(20):
        budget.wait()

    assert len(waited) >= 9


def test_a_reached_limit_holds_everything_for_as_long_as_it_says(clock: FakeClock) -> None:
    waited: list[float] = []
    budget = RequestBudget(10.0, waited.append)
    budget.wait()
    budget.hold(30.0)
    budget.wait()

    assert waited == [pytest.approx(30.0)]
