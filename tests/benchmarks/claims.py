"""What a claim costs in a table with few and with many finished tokens."""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import psycopg

from imagegen import database
from imagegen.demo.postgres import EmbeddedPostgres
from imagegen.queue.queue import Queue
from tests.benchmarks.system import Connection, mint
from tests.support.postgres import PostgresServer
from tests.support.processes import Site

FEW = 1_000
MANY = 1_000_000
EXECUTIONS = 200
WAITING = 20
LIMIT = 10  # the slots of one worker
MODEL = "black-forest-labs/flux-schnell"
LEASE_SECONDS = 600.0  # nothing runs out meanwhile

# One author for all: what a claim reads of authors it reads by their primary key. Triggers are
# off, so that a million rows neither check a foreign key nor notify. A hundred thousand of them
# were made a day, and no next stage has taken one on.
FINISHED = """
    SET LOCAL session_replication_role = replica;
    WITH author AS (
        INSERT INTO authors (wallet_address, prompt_text) VALUES ('0x0', 'finished')
        RETURNING id
    )
    INSERT INTO tokens_s0 (token_id, author_id, status, image_url, generation_attempts)
    SELECT token_id, author.id, 'uploading', 'https://example.com/' || token_id, 1
    FROM author, generate_series(1, {last}) AS token_id;
    INSERT INTO generations (token_id, attempt, prompt, model, seed, state, prediction_id,
        requested_at, worker, lease_until, opened_at, closed_at, images, image_url)
    SELECT token_id, 1, 'finished', '{model}', token_id, 'succeeded', 'prediction' || token_id,
        at, 'worker', at, at, at + random() * interval '3 s', 1,
        'https://example.com/' || token_id
    FROM (SELECT token_id, now() - ({last} - token_id) * interval '1 day' / 100000 AS at
          FROM generate_series(1, {last}) AS token_id) AS finished"""
# The claimed tokens wait again, as if nothing had happened.
GIVE_BACK = (
    "DELETE FROM generations WHERE state = 'open'",
    "UPDATE tokens_s0 SET status = 'detected' WHERE status = 'generating'",
)


@dataclass(frozen=True)
class Claims:
    """Milliseconds that one Queue.claim takes, median."""

    finished: int  # tokens in the table that are done
    empty: float  # nothing waits
    waiting: float  # twenty wait, and it takes ten
    database_url: str  # where it was measured


@dataclass(frozen=True)
class Backlog:
    """A database with so many finished tokens, and a worker's queue on it."""

    finished: int
    url: str
    connection: Connection
    queue: Queue

    def milliseconds_of_a_claim(self, *, expected: int) -> float:
        """Claim that many, and give them back."""
        began = time.perf_counter()
        claims = self.queue.claim(limit=LIMIT, new_limit=LIMIT, model=MODEL)
        milliseconds = 1000 * (time.perf_counter() - began)
        assert len(claims) == expected, f"{len(claims)} claims, not {expected}"
        for statement in GIVE_BACK:
            self.connection.execute(statement)
        return milliseconds


def measure(server: EmbeddedPostgres, place: Site) -> tuple[Claims, Claims]:
    """The same claims with few and with many finished tokens, in turn: what else the machine does
    slows both."""
    with _backlog(server, place, FEW) as few, _backlog(server, place, MANY) as many:
        empty = _medians(few, many, expected=0)
        for each in (few, many):
            mint(each.connection, ["waiting"] * WAITING)
        waiting = _medians(few, many, expected=LIMIT)
        return (
            Claims(FEW, empty[0], waiting[0], few.url),
            Claims(MANY, empty[1], waiting[1], many.url),
        )


def _medians(few: Backlog, many: Backlog, *, expected: int) -> tuple[float, float]:
    """Milliseconds of a claim in each of them."""
    of_few, of_many = [], []
    for _ in range(EXECUTIONS):
        of_few.append(few.milliseconds_of_a_claim(expected=expected))
        of_many.append(many.milliseconds_of_a_claim(expected=expected))
    return statistics.median(of_few), statistics.median(of_many)


@contextmanager
def _backlog(server: EmbeddedPostgres, place: Site, finished: int) -> Iterator[Backlog]:
    name = f"claims_{finished}"
    url = PostgresServer(server.url).create_database(name)
    replace(place, database_url=url).upgrade()
    with psycopg.connect(url, autocommit=True) as connection:
        # The flush of the disk costs the same in both and would hide the rest.
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
        with connection.transaction():
            connection.execute(FINISHED.format(last=finished, model=MODEL).encode())
        # Nothing is left for the background to do.
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
        tables = database.read_tables(connection)
        with database.open_pool(url, 1, "imagegen-benchmark") as pool:
            yield Backlog(
                finished,
                url,
                connection,
                Queue(
                    pool,
                    tables,
                    "benchmark",
                    lease_seconds=LEASE_SECONDS,
                    give_up_after_seconds=LEASE_SECONDS,
                ),
            )
