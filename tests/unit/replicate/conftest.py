"""A sandbox whose predictions are done at once, and a client for it."""

from collections.abc import Iterator

import pytest

from imagegen.replicate.client import ReplicateClient
from tests.support.replicate_client import client_of
from tests.support.sandbox import Sandbox


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(latency_seconds=0.0) as running:
        yield running


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[ReplicateClient]:
    with client_of(sandbox.url) as client:
        yield client
