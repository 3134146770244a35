"""What /readyz says, and why."""

from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

import psycopg
import pytest
from prometheus_client import CollectorRegistry, Gauge

from imagegen.database.answers import CANCEL_SECONDS
from imagegen.database.connection import Connection
from imagegen.database.tables import Tables
from imagegen.failures import Reason
from imagegen.web.app import READINESS_TIMEOUT_SECONDS, App
from imagegen.web.database_thread import ANSWER_SECONDS, DatabaseThread
from imagegen.web.stats import any_token_waits
from tests.unit.web.test_app import PASSWORD, get, settings

T = TypeVar("T")

NAME = "host:1-ab:exporter.1"


class CannedDatabase(DatabaseThread):
    """One that answers nothing, or fails, and knows what it was asked."""

    def __init__(self, failure: Exception | None = None, *, tokens_wait: bool = True) -> None:
        super().__init__(settings().database_url, NAME)
        self.asked: list[object] = []
        self._failure = failure
        self._tokens_wait = tokens_wait

    def ask(self, question: Callable[[Connection, Tables], T], timeout_seconds: float) -> T:
        self.asked.append(question)
        if self._failure:
            raise self._failure
        return self._tokens_wait  # type: ignore[return-value]


def unready(
    database: DatabaseThread | None = None, *, workers: int = 2, fine: str = "ok", **closed: str
) -> list[str]:
    """`closed` is why a gate is closed, by its worker: `worker_0="no_credit"`."""
    shared = CollectorRegistry()
    Gauge("imagegen_workers", "", registry=shared).set(workers)
    gates = Gauge("imagegen_gate_closed", "", ["slot", "reason"], registry=shared)
    gates.labels("worker-0", Reason.NO_CREDIT).set(0)  # it was, and is open again
    for slot, reason in closed.items():
        gates.labels(slot.replace("_", "-"), reason).set(1)
    pids = Gauge("imagegen_worker_pid", "", ["slot"], registry=shared)
    for number in range(workers):
        pids.labels(f"worker-{number}").set(100 + number)
    asked = database or CannedDatabase()
    answer = get(App(settings(), NAME, shared, asked, lambda: 0.0), "/readyz")
    if answer.status == HTTPStatus.OK:
        assert answer.body.decode() == f"{fine}\n"
        return []
    assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE
    return answer.body.decode().splitlines()


def test_it_is_ready_when_all_is_well() -> None:
    assert unready() == []


def test_a_throttle_passes_by_itself_and_makes_nobody_unready() -> None:
    assert unready(worker_0=Reason.THROTTLED, worker_1=Reason.THROTTLED) == []


def test_a_pause_is_wanted_and_makes_nobody_unready() -> None:
    fine = "ok, and paused by an operator"

    assert unready(fine=fine, worker_0=Reason.PAUSED, worker_1=Reason.PAUSED) == []


def test_what_closed_a_gate_before_a_pause_makes_nobody_unready_while_it_holds() -> None:
    shared = CollectorRegistry()
    Gauge("imagegen_workers", "", registry=shared).set(1)
    gates = Gauge("imagegen_gate_closed", "", ["slot", "reason"], registry=shared)
    for reason in (Reason.UNAVAILABLE, Reason.PAUSED):
        gates.labels("worker-0", reason).set(1)
    Gauge("imagegen_worker_pid", "", ["slot"], registry=shared).labels("worker-0").set(100)

    answer = get(App(settings(), NAME, shared, CannedDatabase(), lambda: 0.0), "/readyz")

    assert answer.status == HTTPStatus.OK


@pytest.mark.parametrize("reason", sorted({*Reason} - {Reason.THROTTLED, Reason.PAUSED}))
def test_one_gate_closed_for_anything_else_is_enough(reason: Reason) -> None:
    assert unready(worker_1=reason) == [f"the gate of worker-1 is closed: {reason}"]


def test_a_closed_gate_makes_nobody_unready_where_no_token_waits_for_it() -> None:
    database = CannedDatabase(tokens_wait=False)

    assert unready(database, worker_1=Reason.UNAVAILABLE) == []


def test_without_a_living_worker_it_is_unready() -> None:
    assert unready(workers=0) == ["no worker is alive"]


def test_without_the_database_it_is_unready_and_tells_no_secret() -> None:
    error = psycopg.OperationalError(f"refused for {PASSWORD}\nmore of it")

    assert unready(CannedDatabase(error)) == ["database: refused for [hidden]"]


def test_readiness_counts_no_tokens() -> None:
    database = CannedDatabase()
    unready(database)

    assert database.asked == [any_token_waits]


def test_a_probe_is_answered_before_who_asks_gives_up() -> None:
    assert READINESS_TIMEOUT_SECONDS <= 4.0
    # A dead connection is given up, and there is time for another one.
    assert ANSWER_SECONDS + CANCEL_SECONDS < READINESS_TIMEOUT_SECONDS
