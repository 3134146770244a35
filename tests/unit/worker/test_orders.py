"""Acts of operators close the gate, hold back unsent tokens, and change the rate."""

import pytest

from imagegen.database.acts import Limits, Pause
from imagegen.failures import Reason
from imagegen.queue import Claim, DailyAllowance, PausedError, Queue, Standing
from imagegen.replicate.replies import Answered
from imagegen.worker.account_rates import AccountRates
from imagegen.worker.create_rate import SHARE, CreateRate
from imagegen.worker.gate import Permit
from imagegen.worker.orders import Orders
from tests.support.generation_claims import DONE, NEW, STARTED, adopted, adopted_after, prediction
from tests.support.generation_runs import FALLBACK, RecordingQueue, generate, open_gate
from tests.support.settings import settings

PAUSE = Pause("alice@host as imagegen", "2026-01-01T12:00:00Z", "the model changed")
CENSORED = Answered(prediction("failed", error="NSFW content detected"))

pytestmark = pytest.mark.usefixtures("without_waiting")


class QueueOfOrders(Queue):
    """Knows what operators have asked for, and nothing else."""

    def __init__(self) -> None:
        self.standing = Standing(None)
        self.looks = 0

    def read_standing(self) -> None:
        self.looks += 1


class PausedQueue(RecordingQueue):
    """An operator has paused, and the worker does not know yet."""

    def record_request(
        self, claim: Claim, *, prompt: str, model: str, account: str | None
    ) -> Claim | None:
        raise PausedError


def test_a_paused_gate_admits_nothing_and_a_resumed_one_all() -> None:
    gate = open_gate()

    gate.set_paused(is_paused=True)
    assert gate.allows(10) == 0
    assert gate.next_seconds() == float("inf")
    assert not gate.offers_probe
    assert gate.admit_waiting(1) == Permit(1.0, Reason.PAUSED)

    gate.set_paused(is_paused=False)
    assert gate.allows(10) == 10


def test_a_pause_and_a_reached_daily_limit_close_the_gate_independently() -> None:
    gate = open_gate()
    gate.set_paused(is_paused=True)
    gate.set_allowance(DailyAllowance(0, 0))
    gate.set_paused(is_paused=False)

    assert gate.allows(10) == 0


def test_what_waits_for_the_gate_while_it_is_paused_gives_its_token_back_unsent() -> None:
    gate = open_gate()
    gate.set_paused(is_paused=True)

    calls = generate(adopted(opened_seconds_ago=1e6), gate=gate)

    assert calls.happened == [("requeue", "paused", 0.0)]


def test_a_fallback_waits_while_it_is_paused() -> None:
    gate = open_gate()

    class PausesAtTheFallback(RecordingQueue):
        def _note(self, verb: str, *about: object) -> bool:
            gate.set_paused(is_paused=verb == "use_fallback")
            return super()._note(verb, *about)

    calls = generate(creates=[STARTED], looks=[CENSORED], gate=gate, queue=PausesAtTheFallback)

    assert calls.happened[-2:] == [("use_fallback", FALLBACK), ("requeue", "paused", 0.0)]
    assert len(calls.about("POST")) == 1


def test_a_pause_that_the_worker_does_not_know_yet_holds_all_the_same() -> None:
    calls = generate(NEW, queue=PausedQueue)

    assert calls.happened == [("requeue", "paused", 0.0)]


def test_a_prediction_in_flight_is_watched_to_its_end_while_it_is_paused() -> None:
    gate = open_gate()
    gate.set_paused(is_paused=True)

    calls = generate(adopted_after(5.0), looks=[STARTED, DONE], gate=gate)

    assert calls.verbs() == ["GET", "GET", "complete"]


def test_a_worker_follows_a_pause_and_says_who_asked_for_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue, gate = QueueOfOrders(), open_gate()
    orders = Orders(queue, gate, AccountRates.of(settings()), 60.0)

    queue.standing.pause = PAUSE
    with caplog.at_level("INFO", "imagegen"):
        orders.follow()
        orders.follow()
        assert gate.allows(1) == 0
        queue.standing.pause = None
        orders.follow()

    assert gate.allows(1) == 1
    assert [record.getMessage() for record in caplog.records] == ["gate.closed", "gate.opened"]
    assert "alice@host as imagegen since 2026-01-01 12:00:00 UTC: the model changed" in str(
        vars(caplog.records[0])
    )


def test_a_worker_whose_slots_are_all_busy_looks_once_in_a_while() -> None:
    queue = QueueOfOrders()
    orders = Orders(queue, open_gate(), AccountRates.of(settings()), 60.0)

    orders.follow_if_due()
    orders.follow_if_due()

    assert queue.looks == 1


def test_workers_follow_the_rate_that_an_operator_set_and_go_back_to_the_setting() -> None:
    queue, rates = QueueOfOrders(), AccountRates.of(settings(create_rate=600))
    orders = Orders(queue, open_gate(), rates, 60.0)

    queue.standing.limits = Limits(create_rate=30)
    orders.follow()
    assert rates.creates.per_second == pytest.approx(30 / 60 * SHARE)

    queue.standing.limits = Limits()
    orders.follow()
    assert rates.creates.per_second == pytest.approx(600 / 60 * SHARE)


def test_a_worker_that_starts_later_leaves_the_rate_that_a_throttle_has_lowered() -> None:
    rate = CreateRate(10.0)
    rate.limit(5.0, 1)
    rate.refused(1.0)
    lowered = rate.per_second

    assert rate.limit(5.0, 1)

    assert rate.per_second == lowered


def test_a_daily_limit_of_an_operator_replaces_the_setting() -> None:
    standing = Standing(100)
    assert standing.daily_limit == 100

    standing.note({"pause": None, "limits": {"daily_limit": 5, "of another version": 1}})
    assert standing.daily_limit == 5

    standing.note({"pause": None, "limits": {"daily_limit": "none"}})
    assert standing.daily_limit is None
