"""Databases with many tokens, finished or waiting, and claims from them."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import psycopg

from imagegen import database
from imagegen.queue.queue import Queue
from tests.benchmarks import processes
from tests.benchmarks.system import Connection, connect, mint
from tests.support.postgres import PostgresServer
from tests.support.processes import Site

LIMIT = 10  # the slots of one worker
MODEL = "black-forest-labs/flux-schnell"
LEASE_SECONDS = 600.0  # nothing runs out meanwhile
PASSED_AT_ONCE = 2_500

# One author for all tokens, because a claim finds authors by their primary key. Triggers are off,
# so that a million rows neither check a foreign key nor notify. A hundred thousand of them were
# made a day, and no next stage has taken one on.
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
# The writes of a worker after a claim, one transaction each.
END = (
    """UPDATE generations SET prompt = 'passed', requested_at = clock_timestamp()
       WHERE id = ANY(%(ids)s)""",
    "UPDATE generations SET prediction_id = 'made' || id WHERE id = ANY(%(ids)s)",
    """WITH closed AS (
           UPDATE generations SET state = 'succeeded', closed_at = clock_timestamp(), images = 1,
               image_url = 'https://example.com/' || token_id
           WHERE id = ANY(%(ids)s) RETURNING token_id, image_url)
       UPDATE tokens_s0 t SET status = 'uploading', image_url = closed.image_url,
           generation_attempts = 1
       FROM closed WHERE t.token_id = closed.token_id""",
)
# What a claim of all that wait writes.
OPEN = f"""
    WITH claimed AS (
        UPDATE tokens_s0 SET status = 'generating' WHERE status = 'detected'
        RETURNING token_id, author_id)
    INSERT INTO generations (token_id, author, attempt, model, seed, worker, lease_until)
    SELECT token_id, author_id::text, 1, '{MODEL}', token_id, 'passed', now()
    FROM claimed RETURNING id"""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What is in a database."""

    finished: int  # tokens that are done, analysed
    waiting: int = 20
    passed: int = 0  # tokens that then went through, without ANALYZE or VACUUM
    snapshot: bool = False  # held open in another session meanwhile and from then on

    @property
    def name(self) -> str:
        parts = [f"{self.finished:,} finished"]
        parts += [f"{self.waiting:,} waiting"] if self.waiting > 20 else []
        parts += [f"{self.passed:,} after"] if self.passed else []
        return ", ".join(parts + (["a snapshot"] if self.snapshot else []))


@dataclass(frozen=True)
class Taken:
    """Milliseconds that one claim took."""

    wall: float  # for the worker
    server: float  # CPU of PostgreSQL's session


@dataclass(frozen=True)
class Backlog:
    """A database of a shape, and a worker's queue on it."""

    shape: Shape
    url: str
    connection: Connection
    queue: Queue
    session_pid: int  # of the queue's connection

    def claim(self) -> Taken:
        """Claim as much as a worker has slots; then end these, and as many others are minted."""
        cpu_before, began = processes.own_cpu_seconds(self.session_pid), time.perf_counter()
        claims = self.queue.claim(limit=LIMIT, new_limit=LIMIT, model=MODEL)
        taken = Taken(
            wall=1000 * (time.perf_counter() - began),
            server=1000 * (processes.own_cpu_seconds(self.session_pid) - cpu_before),
        )
        assert len(claims) == LIMIT, f"{len(claims)} claims, not {LIMIT}"
        self._end([each.generation_id for each in claims])
        mint(self.connection, ["waiting"] * LIMIT)
        return taken

    def let_pass(self, tokens: int) -> None:
        """Mint `tokens` and end them, with as many versions of each row as a worker makes. No other
        token may wait."""
        for _ in range(tokens // PASSED_AT_ONCE):
            mint(self.connection, ["passed"] * PASSED_AT_ONCE)
            self._end([int(id_) for (id_,) in self.connection.execute(OPEN)])

    def settle(self) -> None:
        """Leave nothing for the background to do, unless its shape says that this is the case."""
        if not self.shape.passed:
            self.connection.execute("VACUUM ANALYZE")

    def _end(self, generation_ids: list[int]) -> None:
        for statement in END:
            self.connection.execute(statement, {"ids": generation_ids})


@contextlib.contextmanager
def backlog(server_url: str, site: Site, shape: Shape) -> Iterator[Backlog]:
    """Make a database of this shape on the server. Autovacuum must be off there."""
    name = "claims " + shape.name
    url = PostgresServer(server_url).create_database(name)
    replace(site, database_url=url).upgrade()
    with connect(url) as connection:
        # The flush of the disk costs the same in all and would hide the rest.
        connection.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
        connection.execute("SET synchronous_commit = off")
        with connection.transaction():
            connection.execute(FINISHED.format(last=shape.finished, model=MODEL).encode())
        connection.execute("VACUUM ANALYZE")
        with contextlib.ExitStack() as stack:
            if shape.snapshot:
                stack.enter_context(_snapshot(url))
            made = stack.enter_context(_with_queue(shape, url, connection))
            made.let_pass(shape.passed)
            mint(connection, ["waiting"] * shape.waiting)  # the youngest, as behind a burst
            connection.execute("CHECKPOINT")
            yield made


@contextlib.contextmanager
def _with_queue(shape: Shape, url: str, connection: Connection) -> Iterator[Backlog]:
    tables = database.read_tables(connection)
    with database.open_pool(url, 1, "imagegen-benchmark") as pool:
        queue = Queue(
            pool, tables, "benchmark",
            lease_seconds=LEASE_SECONDS, give_up_after_seconds=LEASE_SECONDS,
        )  # fmt: skip
        with pool.connection() as used:
            pid = used.info.backend_pid
        yield Backlog(shape, url, connection, queue, pid)


@contextlib.contextmanager
def _snapshot(url: str) -> Iterator[None]:
    """Hold a snapshot, as a report or a dump of an hour does: what is updated stays."""
    with psycopg.connect(url) as holder:
        holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        holder.execute("SELECT count(*) FROM authors")
        yield
