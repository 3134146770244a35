"""Each statement of the queue reads a few rows, however many there are and whatever PostgreSQL
knows of them."""

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import ClientCursor

from imagegen.database.answers import BoundedConnection
from imagegen.database.connection import open_pool
from imagegen.database.tables import read_tables
from imagegen.queue.execution import execute
from imagegen.queue.fill import FOR_ALL_BUT, Statement, statements
from tests.support.deploy_files import DEPLOY, documents
from tests.support.processes import Site

# Of one token's generations, and what a claim of ten tokens reads of each table.
MOST_ROWS = 50
# These are for all tokens, or only called in an incident or now and then.
FOR_ALL = {
    "count_requests",
    "count_dollars",
    "end_incident",
    "repair_statuses",
    "repair_statuses_only",
}
MANY = """
    SET session_replication_role = replica;
    INSERT INTO authors (wallet_address, prompt_text) SELECT n, n FROM generate_series(1, 30000) n;
    INSERT INTO tokens_s0 (token_id, author_id, status, image_url, created_at)
    SELECT n, (SELECT id FROM authors ORDER BY prompt_text LIMIT 1),
        CASE WHEN n <= 20000 THEN 'uploading' ELSE 'detected' END, 'https://example.com/', now()
    FROM generate_series(1, 30000) n;
    INSERT INTO generations (token_id, attempt, prompt, model, seed, state, prediction_id,
        requested_at, worker, lease_until, opened_at, closed_at, images, image_url, error_kind)
    SELECT n, 1, 'finished', 'm', n, CASE WHEN mod(n, 3) = 0 THEN 'succeeded'
            WHEN mod(n, 3) = 1 THEN 'failed' ELSE 'refused' END,
        CASE WHEN mod(n, 3) < 2 THEN 'prediction' || n END,
        now() - (30000 - n) * interval '1 s', 'w', now(), now() - (30000 - n) * interval '1 s',
        now() - (30000 - n) * interval '1 s', 1, 'https://example.com/',
        CASE WHEN mod(n, 3) = 1 THEN 'unknown' WHEN mod(n, 3) = 2 THEN 'unavailable' END
    FROM generate_series(1, 20000) n;
    INSERT INTO generations (token_id, attempt, prompt, model, seed, requested_at, prediction_id,
        worker, lease_until)
    SELECT n, 1, 'at work', 'm', n, now(), 'prediction' || n, 'w', now() + interval '1 hour'
    FROM generate_series(29981, 30000) n;
    UPDATE tokens_s0 SET status = 'generating' WHERE token_id > 29980"""
FINISHED = """
    SET session_replication_role = replica;
    INSERT INTO authors (wallet_address) VALUES ('a');
    INSERT INTO tokens_s0 (token_id, author_id, status)
    SELECT n, (SELECT id FROM authors), CASE WHEN n > 5 THEN 'uploading' ELSE 'detected' END
    FROM generate_series(1, 100000) n;
    INSERT INTO generations
        (token_id, attempt, model, seed, lease_until, state, closed_at, image_url)
    SELECT n, 1, 'm', n, now(), 'succeeded', now(), 'https://example.com/'
    FROM generate_series(6, 100000) n"""
VALUES: dict[str, Any] = {
    "limit": 10, "new_limit": 10, "model": "m", "worker": "w", "lease_seconds": 15.0,
    "due_within_seconds": 1.0, "most_forgotten": 30, "tokens": [29981, 29982], "token_id": 29990,
    "seed": 29990, "token_ids": [29981, 29982], "prompt": "one", "account": None, "server": "a",
    "made_at": None, "requested_at": None, "prediction_id": "prediction29990", "url": "https://a",
    "predict_seconds": 0.7, "images": 1, "path": None, "sha256": None, "handed_on": None,
    "kind": "unknown",
    "message": "why", "error": "why", "token_fails": False, "retry_seconds": 1.0, "counted": 1,
    "failures": 1, "charged": 1, "failing_since": None, "reason": "unavailable",
    "own_seconds": 2.0, "own_most_seconds": 600.0, "give_up_after_seconds": 86400.0,
    "fallback_prompt": "a cat", "closing": None, "why": "why", "shortest_seconds": 15.0,
    "longest_seconds": 300.0, "of_workers": ["w"], "worker_prefix": None,
    "prediction_ids": ["prediction3", "prediction29990"], "several_tokens": 3,
    "unproven_kinds": ["unknown"], "versions": ["1", "2"], "cost": None, "estimated_cost": None,
    "duplicate_id": "other00000", "status": "starting",
}  # fmt: skip


@pytest.fixture
def connection(site: Site) -> Iterator[BoundedConnection]:
    with open_pool(site.database_url, 1, "test") as pool, pool.connection() as connection:
        yield connection


@pytest.mark.parametrize("known", ["that the tables are empty", "how many rows there are"])
@pytest.mark.direct
def test_no_statement_reads_more_than_a_few_rows_of_many(
    known: str, site: Site, connection: BoundedConnection
) -> None:
    by_name = {
        name: each
        for name, each in statements(read_tables(connection)).items()
        if name not in FOR_ALL
    }
    if known == "that the tables are empty":
        site.query("VACUUM ANALYZE")
        for name, statement in by_name.items():
            rows_read(connection, statement, generation_id=0, name=name)
    site.query("ALTER TABLE tokens_s0 SET (autovacuum_enabled = off)")
    site.query("ALTER TABLE generations SET (autovacuum_enabled = off)")
    site.query(MANY)
    if known == "how many rows there are":
        site.query("VACUUM ANALYZE")
    [(generation_id,)] = site.query("SELECT id FROM generations WHERE token_id = 29990")

    read = {
        name: rows_read(connection, statement, generation_id=generation_id, name=name)
        for name, statement in by_name.items()
    }

    assert {name: rows for name, rows in read.items() if rows > MOST_ROWS} == {}


@pytest.mark.once
def test_keda_counts_tokens_without_reading_those_that_are_finished(site: Site) -> None:
    [scaling] = documents(DEPLOY / "kubernetes" / "scaling.yaml")
    query = scaling["spec"]["triggers"][0]["metadata"]["query"]
    site.query(FINISHED)
    site.query("VACUUM ANALYZE")

    [(plan,)] = site.query(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}")

    assert site.query(query) == [(5,)]
    assert max(rows_of(plan[0]["Plan"])) <= 5


def rows_read(
    connection: BoundedConnection, statement: Statement, *, generation_id: int, name: str
) -> int:
    """How many rows the part of its plan reads that reads the most; it is undone."""
    values = VALUES | {"generation_id": generation_id}
    if name.removesuffix("_only") in FOR_ALL_BUT and name.endswith("_only"):
        values |= {"tokens": [20001, 20002]}
    with connection.transaction(force_rollback=True):
        execute(connection, [statement], values)
    parameters = ", ".join(f"%({each})s" for each in statement.parameters)
    call = f"{statement.name}({parameters})" if parameters else statement.name
    explained = f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE {call}"
    with connection.transaction(force_rollback=True):
        [(plan,)] = ClientCursor(connection).execute(explained, values).fetchall()
    return max(rows_of(plan[0]["Plan"]))


def rows_of(node: dict[str, Any]) -> Iterator[int]:
    """Rows that each part of a plan has read, those that it filtered out too."""
    filtered = ("Rows Removed by Filter", "Rows Removed by Join Filter")
    rows = node["Actual Rows"] + sum(node.get(each, 0) for each in filtered)
    yield round(rows * node["Actual Loops"])
    for child in node.get("Plans", ()):
        yield from rows_of(child)
