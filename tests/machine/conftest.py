"""Fixtures of the tests on a whole machine: it is booted once, and imagegen is installed once."""

from collections.abc import Iterator

import pytest

from tests.machine import debian
from tests.machine.installation import Installation
from tests.support.sandbox import Sandbox


@pytest.fixture(scope="session")
def machine() -> Iterator[debian.Debian]:
    with debian.booted() as machine:
        yield machine


@pytest.fixture(scope="session")
def installation(
    machine: debian.Debian, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """imagegen and Prometheus, with the commands of deploy/README.md."""
    with Sandbox(latency_seconds=0.2) as sandbox:
        installation = Installation(machine, sandbox, tmp_path_factory.mktemp("machine"))
        installation.install()
        yield installation
