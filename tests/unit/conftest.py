"""A sandbox and its customer."""

from collections.abc import Iterator

import pytest

from imagegen.sandbox import Sandbox
from tests.unit.customer import Customer


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(latency_seconds=0.05) as running:
        yield running


@pytest.fixture
def customer(sandbox: Sandbox) -> Iterator[Customer]:
    customer = Customer(sandbox.url)
    with customer.http:
        yield customer
