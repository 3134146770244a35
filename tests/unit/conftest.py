"""A sandbox and its customer, a clock for the gate, a recipe that waits for nothing."""

from collections.abc import Iterator

import pytest

from imagegen import gate as gates
from imagegen import generation, pacing, patience
from imagegen.sandbox import Sandbox
from tests.unit.customer import Customer
from tests.unit.gates import Clock
from tests.unit.recipe import NoPace


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(latency_seconds=0.05) as running:
        yield running


@pytest.fixture
def customer(sandbox: Sandbox) -> Iterator[Customer]:
    customer = Customer(sandbox.url)
    with customer.http:
        yield customer


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(gates, "time", clock)
    monkeypatch.setattr(pacing, "time", clock)
    monkeypatch.setattr(gates, "JITTER", 0.0)
    return clock


@pytest.fixture
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "Pace", NoPace)
    monkeypatch.setattr(patience, "DATABASE_AGAIN_SECONDS", 0.0)
