"""A user's tables may have foreign keys to `tokens_s0`: neither waits for the other."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from imagegen.database.connection import Pool
from imagegen.database.tables import read_tables
from imagegen.queue.execution import execute
from imagegen.queue.fill import statements
from tests.support.processes import Site
from tests.support.queue_fixtures import MODEL, MakeQueue, claim_one, token

TRAITS = "CREATE TABLE traits (token_id integer NOT NULL REFERENCES tokens_s0 (token_id))"
CLAIM = {
    "limit": 1, "new_limit": 1, "model": MODEL, "worker": "w", "lease_seconds": 60.0,
    "due_within_seconds": 1.0, "most_forgotten": 30, "tokens": [],
}  # fmt: skip


@contextmanager
def open_claim(pool: Pool) -> Iterator[None]:
    """The claim of a token, in a transaction that goes on for as long as this."""
    with pool.connection() as worker, worker.transaction():
        [claimed] = execute(worker, [statements(read_tables(worker))["claim"]], CLAIM)
        assert len(claimed) == 1
        yield


@contextmanager
def impatient(site: Site) -> Iterator[psycopg.Connection]:
    with psycopg.connect(site.database_url, autocommit=True) as user, user.transaction():
        user.execute("SET LOCAL lock_timeout = '200ms'")
        yield user


@pytest.mark.once
def test_a_row_with_a_foreign_key_to_a_token_does_not_wait_for_its_claim(
    site: Site, pool: Pool
) -> None:
    site.query(TRAITS)
    site.mint("a cat")

    with open_claim(pool), impatient(site) as user:
        user.execute("INSERT INTO traits VALUES (1)")

    assert site.query("SELECT token_id FROM traits") == [(1,)]
    assert token(site)[0] == "generating"


@pytest.mark.once
def test_a_token_is_claimed_while_a_row_with_a_foreign_key_to_it_is_being_written(
    site: Site, make_queue: MakeQueue
) -> None:
    site.query(TRAITS)
    site.mint("a cat")

    with psycopg.connect(site.database_url) as user:
        user.execute("INSERT INTO traits VALUES (1)")
        claimed = claim_one(make_queue())

    assert claimed.token_id == 1


@pytest.mark.once
@pytest.mark.parametrize("change", ["DELETE FROM tokens_s0", "UPDATE tokens_s0 SET token_id = 2"])
def test_a_token_is_neither_deleted_nor_renamed_within_its_claim(
    site: Site, pool: Pool, change: str
) -> None:
    site.mint("a cat")

    with (
        open_claim(pool),
        pytest.raises(psycopg.errors.LockNotAvailable),
        impatient(site) as user,
    ):
        user.execute(change)
