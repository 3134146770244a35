"""Statements are prepared once in a session, and it does not matter if the session forgets them."""

from collections.abc import Iterator
from contextlib import suppress

import pytest

from imagegen.database import Tables, TablesAwayError, preflight
from imagegen.database.connection import Connection, Pool, open_pool
from imagegen.database.tables import read_tables
from imagegen.queue import Complete, Queue, statements
from tests.support.processes import Site
from tests.support.queue_fixtures import MakeQueue, accept, claim, token

pytestmark = pytest.mark.direct

IMAGE = Complete("https://example.com/1.webp", 0.7, 1)
PREPARED = "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'imagegen%'"


@pytest.fixture
def pool(site: Site) -> Iterator[Pool]:
    """With one session, so that each statement meets what was done to it before."""
    with open_pool(site.database_url, 1, "test") as pool:
        yield pool


def execute(pool: Pool, sql: str) -> list[tuple[object, ...]]:
    """In the session of the queue."""
    with pool.connection() as connection:
        cursor = connection.execute(sql.encode())
        return cursor.fetchall() if cursor.description else []


def finish_one(queue: Queue) -> None:
    [claimed] = claim(queue, limit=1)
    queue.apply(accept(queue, claimed), IMAGE)


def test_each_statement_is_prepared_once(site: Site, pool: Pool, make_queue: MakeQueue) -> None:
    queue = make_queue()
    for token_id in (1, 2, 3):
        site.mint("a prompt", first_token_id=token_id)
        finish_one(queue)

    statements = [
        "claim", "standing", "record_request", "record_prediction", "complete", "discarded",
    ]  # fmt: skip
    assert execute(pool, PREPARED) == [(len(statements),)]


def test_a_session_that_has_forgotten_them_goes_on(
    site: Site, pool: Pool, make_queue: MakeQueue
) -> None:
    queue = make_queue()
    site.mint("one", "two")
    finish_one(queue)
    execute(pool, "DEALLOCATE ALL")

    finish_one(queue)

    assert token(site, 2)[0] == "uploading"


def test_statements_of_tables_that_were_changed_are_prepared_anew(
    site: Site, pool: Pool, make_queue: MakeQueue
) -> None:
    queue = make_queue()
    site.mint("one", "two")
    finish_one(queue)
    site.query("ALTER TABLE generations ALTER model TYPE varchar(200)")

    try:
        finish_one(queue)
    except TablesAwayError:  # as a worker does, which waits and goes on
        finish_one(queue)

    assert token(site, 2)[0] == "uploading"


def test_seconds_may_have_a_fraction_in_each_prepared_statement(pool: Pool) -> None:
    """PostgreSQL infers a parameter's type, and takes it for a whole number beside one."""
    with pool.connection() as connection:
        for statement in statements(read_tables(connection)).values():
            connection.execute(f"PREPARE one AS {statement.numbered}".encode())
            types = connection.execute(
                "SELECT parameter_types::text[] FROM pg_prepared_statements WHERE name = 'one'"
            ).fetchall()[0][0]
            connection.execute("DEALLOCATE one")

            inferred = dict(zip(statement.parameters, types, strict=True))
            seconds = {name: each for name, each in inferred.items() if name.endswith("_seconds")}
            assert set(seconds.values()) <= {"double precision"}, (seconds, statement.text)


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE tokens_s0 ALTER generation_error TYPE varchar(500)",
        "ALTER TABLE tokens_s0 ENABLE ROW LEVEL SECURITY",
        "REVOKE SELECT ON authors FROM PUBLIC; GRANT SELECT ON authors TO PUBLIC",
        "ALTER TABLE authors RENAME TO writers",
        "CREATE SCHEMA other",
        "COMMENT ON TABLE generations IS 'of somebody else'",
        "UPDATE pg_index SET indisvalid = false WHERE indrelid = 'tokens_s0'::regclass",
    ],
)
def test_tables_are_checked_again_only_after_a_change_of_the_catalog(
    change: str, site: Site, make_queue: MakeQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = []
    usable_tables = preflight.usable_tables

    def count(connection: Connection) -> Tables:
        checked.append(1)
        return usable_tables(connection)

    monkeypatch.setattr(preflight, "usable_tables", count)
    session = make_queue().session
    for _ in range(3):
        session.check()
    at_rest = len(checked)
    site.query(change)
    with suppress(TablesAwayError):  # some of these end the work
        session.check()

    assert (at_rest, len(checked)) == (1, 2)
