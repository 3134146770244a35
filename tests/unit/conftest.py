"""A sandbox and its user, a clock for the gate, a recipe that waits for nothing."""

from collections.abc import Iterator

import pytest

from imagegen.replicate import request_budget
from imagegen.worker import create_rate, database_retry, polling
from imagegen.worker import gate as gates
from tests.support.fake_clock import FakeClock
from tests.support.generation_runs import NoWaits
from tests.support.sandbox import Sandbox
from tests.support.sandbox_user import SandboxUser


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(latency_seconds=0.05) as running:
        yield running


@pytest.fixture
def user(sandbox: Sandbox) -> Iterator[SandboxUser]:
    user = SandboxUser(sandbox.url)
    with user.http:
        yield user


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock()
    monkeypatch.setattr(gates, "time", clock)
    monkeypatch.setattr(create_rate, "time", clock)
    monkeypatch.setattr(request_budget, "time", clock)
    monkeypatch.setattr(gates, "JITTER", 0.0)
    return clock


@pytest.fixture
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "PollSchedule", NoWaits)
    monkeypatch.setattr(database_retry, "DATABASE_AGAIN_SECONDS", 0.0)
