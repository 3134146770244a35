"""Fixtures of all tests. Only a test that asks for a database starts a server."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagegen.demo.postgres import forget_libpq_variables
from tests.support import postgres
from tests.support.pooler import PgBouncer, through_pooler

pytest_plugins = ["tests.support.site_fixtures", "tests.support.queue_fixtures"]

MARKERS_BY_FOLDER = {
    "integration": pytest.mark.integration,
    "drills": pytest.mark.drill,
    "model": pytest.mark.model,
    "machine": pytest.mark.machine,
}
# What these show depends neither on the server nor on a pooler (words, rows, columns, answers), or
# takes long and depends on them little.
ONCE = {
    "test_audit", "test_column_types", "test_connection_limits", "test_crash_points",
    "test_database_stands_still", "test_demo", "test_doctor", "test_doctor_mistakes",
    "test_downgrade", "test_embedded_postgres", "test_encodings", "test_enqueue", "test_failover",
    "test_figures", "test_figures_of_images", "test_hidden_authors", "test_holds",
    "test_hostile_answers", "test_image_copies", "test_incidents", "test_kept_images",
    "test_late_next_stage", "test_limits", "test_limits_changed", "test_log_nobody_reads",
    "test_lost_answers", "test_messages", "test_names_are_not_resolved", "test_network",
    "test_night", "test_odd_rows", "test_odd_rows_counted", "test_odd_rows_shown",
    "test_older_worker", "test_one_post", "test_outages", "test_outputs", "test_page",
    "test_prometheus", "test_prometheus_files", "test_prune", "test_queue_daily_budget",
    "test_readme_commands", "test_refusals", "test_rolls", "test_s3_copies",
    "test_schema_repaired", "test_spend", "test_stale_demos", "test_starting",
    "test_state_machine", "test_status", "test_status_labels", "test_tables_away",
    "test_tables_of_others", "test_token_pages", "test_tokens_hand_on",
    "test_tokens_hand_on_copies", "test_tokens_retry", "test_tokens_retry_fallback",
    "test_tokens_show", "test_unusable_tables", "test_users_alembic",
}  # fmt: skip
# What these show is the same on another server, but not through a pooler.
ON_ANY_SERVER = {"test_fallback_prompt", "test_refused_closings", "test_tokens"}
TESTS = Path(__file__).parent
MACHINE_CAN_BE_BOOTED = "IMAGEGEN_TEST_MACHINE" in os.environ
POSTGRES_CHOICE = pytest.StashKey[postgres.PostgresChoice]()


def pytest_configure() -> None:
    forget_libpq_variables()
    os.environ["no_proxy"] = "*"  # a proxy of this machine does not lead to the tests' servers


def pytest_report_header(config: pytest.Config) -> list[str]:
    pooled = ", through PgBouncer in transaction mode" if through_pooler() else ""
    lines = [f"{postgres_choice(config)}{pooled}"]
    if not MACHINE_CAN_BE_BOOTED:
        lines.append("left out: tests/machine, because IMAGEGEN_TEST_MACHINE is not set")
    return lines


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A test's folder says what it needs; what cannot be had in this run is left out."""
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        if folder in MARKERS_BY_FOLDER:
            item.add_marker(MARKERS_BY_FOLDER[folder])
        if item.path.stem in ONCE:
            item.add_marker(pytest.mark.once)
        if item.path.stem in ON_ANY_SERVER:
            item.add_marker(pytest.mark.on_any_server)
        if "postgres_server" in item.fixturenames:  # type: ignore[attr-defined]
            item.add_marker(pytest.mark.database)
    if through_pooler():
        leave_out("direct", config, items)
    if not MACHINE_CAN_BE_BOOTED:
        leave_out("machine", config, items)


def leave_out(marker: str, config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [item for item in items if item.get_closest_marker(marker)]
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


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


@pytest.fixture(scope="session")
def pooler(postgres_server: postgres.PostgresServer) -> Iterator[PgBouncer | None]:
    """PgBouncer in transaction mode before the server, where this run is to go through it."""
    if not through_pooler():
        yield None
        return
    with PgBouncer(postgres_server.url) as pooler:
        yield pooler


@pytest.fixture
def database_url(
    postgres_server: postgres.PostgresServer, pooler: PgBouncer | None
) -> Iterator[str]:
    """A fresh, empty database, dropped after the test."""
    name = f"test_{uuid.uuid4().hex}"
    url = postgres_server.create_database(name)
    yield pooler.url(name) if pooler else url
    postgres_server.drop_database(name)
