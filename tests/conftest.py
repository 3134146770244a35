"""Fixtures of all tests. Only a test that asks for a database starts a server."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import postgres

pytest_plugins = ["tests.sites"]

MARKERS_BY_FOLDER = {"integration": pytest.mark.integration, "drills": pytest.mark.drill}
TESTS = Path(__file__).parent
POSTGRES_CHOICE = pytest.StashKey[postgres.PostgresChoice]()


def pytest_report_header(config: pytest.Config) -> str:
    return str(postgres_choice(config))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test's folder says what it needs."""
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        if folder in MARKERS_BY_FOLDER:
            item.add_marker(MARKERS_BY_FOLDER[folder])


def postgres_choice(config: pytest.Config) -> postgres.PostgresChoice:
    """Decide in the header, or at the first database where the header is not shown."""
    if POSTGRES_CHOICE not in config.stash:
        config.stash[POSTGRES_CHOICE] = postgres.choose()
    return config.stash[POSTGRES_CHOICE]


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> Iterator[postgres.PostgresServer]:
    """One server for the whole run."""
    with postgres.running(postgres_choice(pytestconfig)) as server:
        yield server


@pytest.fixture
def database_url(postgres_server: postgres.PostgresServer) -> Iterator[str]:
    """A fresh, empty database, dropped after the test."""
    name = f"test_{uuid.uuid4().hex}"
    yield postgres_server.create_database(name)
    postgres_server.drop_database(name)
