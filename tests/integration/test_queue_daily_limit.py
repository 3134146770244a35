"""The requests that the daily limit admits, on a real PostgreSQL."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from imagegen.queue import (
    Claim,
    DailyAllowance,
    DailyLimitError,
    FailAttempt,
    Queue,
    Requeue,
)
from tests.support.processes import Site
from tests.support.queue_fixtures import (
    MakeQueue,
    claim,
    claim_one,
    record_request,
)


def test_a_found_prediction_is_recorded_though_the_daily_limit_is_reached(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("one")
    queue = make_queue(daily_limit=0)

    found = queue.record_found(
        claim_one(queue), "prediction1", prompt="one", account="an-account", made_at=None
    )

    assert found is not None
    assert (found.prediction_id, found.prompt, found.account) == (
        "prediction1",
        "one",
        "an-account",
    )
    assert found.requested_at is not None


def test_a_request_that_was_surely_refused_uses_up_no_daily_limit(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("one")
    queue = make_queue(daily_limit=1)
    requested = record_request(queue, claim_one(queue), "one")
    assert requested

    assert queue.apply(requested, FailAttempt("permanent", "no", token_fails=True))

    assert queue.daily_allowance().total == 1


def test_the_daily_limit_counts_requests_that_left_and_were_not_refused(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("one", "two", "three")
    queue = make_queue(daily_limit=2)
    first, second, third = claim(queue)
    assert queue.daily_allowance().total == 2
    assert record_request(queue, first, "one")
    assert record_request(queue, second, "two")
    assert queue.daily_allowance().total == 0
    with pytest.raises(DailyLimitError):
        record_request(queue, third, "three")

    assert queue.apply(first, Requeue("throttled", "no", 0))
    assert queue.daily_allowance().total == 1
    assert record_request(queue, third, "three")


def test_claimed_tokens_count_in_the_daily_limit_before_they_are_sent(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("one")
    queue = make_queue(daily_limit=3)
    claimed = claim_one(queue)
    assert queue.daily_allowance() == DailyAllowance(total=3, for_new_tokens=2)
    assert record_request(queue, claimed, "one")

    assert queue.daily_allowance() == DailyAllowance(total=2, for_new_tokens=2)


def test_a_limit_that_was_lowered_below_what_was_used_leaves_none(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("one", "two", "three")
    queue = make_queue(daily_limit=3)
    for each in claim(queue):
        assert record_request(queue, each, "a prompt")

    assert make_queue(daily_limit=1).daily_allowance() == DailyAllowance(total=0, for_new_tokens=0)


def test_after_a_day_the_daily_limit_leaves_room_again(site: Site, make_queue: MakeQueue) -> None:
    site.mint("one")
    queue = make_queue(daily_limit=1)
    assert record_request(queue, claim_one(queue), "one")
    site.query("UPDATE generations SET requested_at = now() - interval '24 hours 1 second'")

    assert queue.daily_allowance().total == 1


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_the_daily_limit_holds_however_many_requests_leave_at_once(
    site: Site, make_queue: MakeQueue, isolation: str
) -> None:
    [(name,)] = site.query("SELECT current_database()")
    site.query(f"ALTER DATABASE {name} SET default_transaction_isolation = '{isolation}'")
    site.mint(*[f"prompt {number}" for number in range(12)])
    queues = [make_queue(f"worker-{number}", daily_limit=5) for number in range(4)]
    claims = [(queue, each) for queue in queues for each in claim(queue, 3)]

    def ask(queue: Queue, claimed: Claim) -> bool:
        try:
            return record_request(queue, claimed, "a prompt") is not None
        except DailyLimitError:
            return False

    with ThreadPoolExecutor(12) as threads:
        passed = list(threads.map(lambda each: ask(*each), claims))

    assert len(claims) == 12
    assert sum(passed) == 5
