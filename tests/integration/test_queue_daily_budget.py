"""The daily budget admits no more than its dollars, on a real PostgreSQL."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from imagegen.failures import Reason
from imagegen.queue import (
    Claim,
    Complete,
    DailyAllowance,
    DailyLimitError,
    FailAttempt,
    Queue,
    Requeue,
)
from tests.support.processes import Site, wait_for
from tests.support.queue_fixtures import MakeQueue, accept, claim, claim_one, record_request
from tests.support.sandbox import Fault, Sandbox

REQUEST = Decimal("0.01")
FIVE_REQUESTS: dict[str, Any] = {"daily_budget": 5 * REQUEST, "request_dollars": REQUEST}


def test_the_daily_budget_holds_however_many_requests_leave_at_once(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint(*[f"prompt {number}" for number in range(20)])
    queues = [make_queue(f"worker-{number}", **FIVE_REQUESTS) for number in range(4)]
    claims = [(queue, each) for queue in queues for each in claim(queue, 5)]

    def ask(queue: Queue, claimed: Claim) -> bool:
        try:
            return record_request(queue, claimed, "a prompt") is not None
        except DailyLimitError:
            return False

    with ThreadPoolExecutor(20) as threads:
        passed = list(threads.map(lambda each: ask(*each), claims))

    assert (len(passed), sum(passed)) == (20, 5)
    left = queues[0].daily_allowance()
    assert (left.total, left.reason) == (0, Reason.DAILY_BUDGET)


def test_the_gate_closes_when_the_budget_is_spent_and_not_while_requests_may_cost_less(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("one", "two")
    queue = make_queue(daily_budget=2 * REQUEST, request_dollars=REQUEST)
    one, two = (accept(queue, each) for each in claim(queue))
    in_flight = queue.daily_allowance()

    for each in (one, two):
        assert queue.apply(each, Complete("https://x", 1.0, 1, cost="0.009"))

    assert (in_flight.total, in_flight.closed_by) == (0, None)
    assert queue.daily_allowance().closed_by is Reason.DAILY_BUDGET


def test_a_request_counts_with_its_estimate_until_it_has_ended_and_then_with_its_cost(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("one", "two")
    queue = make_queue(**FIVE_REQUESTS)
    one, two = (accept(queue, each) for each in claim(queue))
    assert queue.daily_allowance().total == 3

    assert queue.apply(one, Complete("https://x", 1.0, 1, cost="0.003"))
    assert queue.daily_allowance().total == 3  # 0.037 are left
    assert queue.apply(two, FailAttempt("transient", "no", token_fails=True, cost="0"))

    assert queue.daily_allowance().total == 4
    assert site.query("SELECT cost, estimated_cost FROM generations ORDER BY id") == [
        (Decimal("0.003"), Decimal("0.01")),
        (Decimal(0), Decimal("0.01")),
    ]


def test_a_request_that_was_surely_refused_costs_nothing(site: Site, make_queue: MakeQueue) -> None:
    site.mint("one")
    queue = make_queue(**FIVE_REQUESTS)
    requested = record_request(queue, claim_one(queue), "one")
    assert requested

    assert queue.apply(requested, Requeue("throttled", "no", 60))

    assert queue.daily_allowance().total == 5


def test_a_prediction_of_before_the_price_counts_like_the_next_request(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("one")
    before = make_queue()
    assert before.apply(accept(before, claim_one(before)), Complete("https://x", 1.0, 1))

    assert make_queue(**FIVE_REQUESTS).daily_allowance().total == 4


def test_a_prediction_of_before_the_price_counts_by_its_seconds_if_these_are_billed(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("one")
    before = make_queue()
    assert before.apply(accept(before, claim_one(before)), Complete("https://x", 2.0, 1))

    by_the_second = make_queue(
        daily_budget=Decimal("3.02"), request_dollars=Decimal(3), second_dollars=Decimal("0.01")
    )

    assert by_the_second.daily_allowance().total == 1


def test_a_duplicate_counts_though_it_was_cancelled(site: Site, make_queue: MakeQueue) -> None:
    site.mint("one")
    queue = make_queue(**FIVE_REQUESTS)
    accepted = accept(queue, claim_one(queue))
    assert queue.record_duplicate(
        accepted, "another", status="processing", account=None, made_at=None
    )

    assert queue.daily_allowance().total == 3


def test_the_lower_of_limit_and_budget_decides_and_is_named(
    site: Site, make_queue: MakeQueue
) -> None:
    limited = make_queue(daily_limit=3, **FIVE_REQUESTS)
    budgeted = make_queue(daily_limit=9, **FIVE_REQUESTS)

    assert limited.daily_allowance() == DailyAllowance(3, 3, Reason.DAILY_LIMIT)
    assert budgeted.daily_allowance() == DailyAllowance(5, 5, Reason.DAILY_BUDGET, is_spent=False)


@pytest.mark.parametrize("dollars", ["0", "0.009"])
def test_a_budget_below_one_request_admits_none(make_queue: MakeQueue, dollars: str) -> None:
    queue = make_queue(daily_budget=Decimal(dollars), request_dollars=REQUEST)

    assert queue.daily_allowance().closed_by is Reason.DAILY_BUDGET


def test_the_main_job_spends_its_budget_and_no_more_and_the_ledger_is_the_bill(
    site: Site, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault.censors("censored", times=1))
    site.mint("censored", *[f"picture {number}" for number in range(29)])
    settings = ("--price", "0.003", "--daily-budget", "0.025")
    with site.supervisor(*settings, "--model-input", '{"num_outputs": 2}') as program:
        program.wait_for_event("gate.closed")
        assert "closed: daily_budget" in program.readiness()[1]
        wait_for("the images", lambda: site.statuses().get("uploading", 0) == 4)
        assert program.metrics()["imagegen_daily_budget"] == 0.025

    images = 2 * len(sandbox.predictions.paid())
    [(cost,)] = site.query("SELECT sum(cost) FROM generations")
    assert (images, cost) == (8, Decimal("0.024"))
    assert "failed" not in site.statuses()
