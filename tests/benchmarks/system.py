"""The whole system: a PostgreSQL that flushes, the stand-in, and `imagegen supervise`."""

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg.rows import TupleRow

from imagegen.demo.postgres import DATABASE, EmbeddedPostgres
from tests.benchmarks import processes, stand_in
from tests.benchmarks.stand_in import StandIn
from tests.support.pooler import PgBouncer
from tests.support.processes import Program, Site

PROCS = 2
SLOTS = 10  # of each worker

# How the benchmark's own connections are told from imagegen's.
APPLICATION_NAME = "imagegen-benchmark"

# imagegen is measured here, not the account's limits.
NO_LIMITS = {"IMAGEGEN_CREATE_RATE": "1000000", "IMAGEGEN_POLL_BUDGET": "1000000"}

MINT = """
    WITH minted AS (
        SELECT prompt, number::integer + coalesce((SELECT max(token_id) FROM tokens_s0), 0)
            AS token_id
        FROM unnest(%s::text[]) WITH ORDINALITY AS list (prompt, number)
    ), author AS (
        INSERT INTO authors (wallet_address, prompt_text)
        SELECT '0x' || lpad(to_hex(token_id), 40, '0'), prompt FROM minted
        RETURNING id, wallet_address
    )
    INSERT INTO tokens_s0 (token_id, author_id)
    SELECT token_id, author.id
    FROM minted JOIN author ON wallet_address = '0x' || lpad(to_hex(token_id), 40, '0')"""

UNFINISHED = "SELECT count(*) FROM tokens_s0 WHERE status IN ('detected', 'generating')"

Connection = psycopg.Connection[TupleRow]


@dataclass(frozen=True)
class Cost:
    """CPU seconds, user and system, at one moment or between two."""

    imagegen: float  # supervisors, workers and exporters
    postgres: float  # all processes of the server but the benchmark's own sessions
    pooler: float
    stand_in: float

    def since(self, before: "Cost") -> "Cost":
        return Cost(
            self.imagegen - before.imagegen,
            self.postgres - before.postgres,
            self.pooler - before.pooler,
            self.stand_in - before.stand_in,
        )


@dataclass(frozen=True)
class Ground:
    """A durable server with a migrated database, and a folder that goes at the end."""

    server: EmbeddedPostgres
    site: Site
    pooler: PgBouncer | None = None


@dataclass(frozen=True)
class System:
    """What the benchmarks measure, and what they measure it with."""

    ground: Ground
    stand_in: StandIn
    programs: list[Program]  # the supervisors
    own_sessions: set[int] = field(default_factory=set)  # pids of the server's processes

    @property
    def slots(self) -> int:
        """How many tokens can be at work at once."""
        return PROCS * SLOTS * len(self.programs)

    @contextlib.contextmanager
    def connect(self) -> Iterator[Connection]:
        """To imagegen's database, past a pooler, in autocommit."""
        with connect(self.ground.server.url) as connection, self._own(connection):
            yield connection

    @contextlib.contextmanager
    def observe(self) -> Iterator[Connection]:
        """To another database of the server: what is asked there is not counted as imagegen's."""
        url = urlsplit(self.ground.server.url)._replace(path="/postgres").geturl()
        with connect(url) as connection, self._own(connection):
            yield connection

    @contextlib.contextmanager
    def _own(self, connection: Connection) -> Iterator[None]:
        pid = connection.info.backend_pid
        self.own_sessions.add(pid)
        yield
        self.own_sessions.discard(pid)

    def cost(self) -> Cost:
        """CPU so far. Between two of these no session of the benchmark may begin or end."""
        server_pid, pooler = self.ground.server.pid, self.ground.pooler
        assert server_pid is not None
        return Cost(
            imagegen=sum(processes.cpu_seconds(each.pid) for each in self.programs),
            postgres=processes.cpu_seconds(server_pid, without=self.own_sessions),
            pooler=processes.cpu_seconds(pooler.pid) if pooler else 0.0,
            stand_in=processes.cpu_seconds(self.stand_in.pid),
        )

    def pss_megabytes(self) -> float:
        """Memory of imagegen's processes."""
        return sum(processes.pss_megabytes(each.pid) for each in self.programs)

    def check(self) -> None:
        """Raise AssertionError if a supervisor has ended."""
        for program in self.programs:
            assert program.process.poll() is None, program.log.read_text()


def connect(url: str) -> Connection:
    return psycopg.connect(url, autocommit=True, application_name=APPLICATION_NAME)


def number(connection: Connection, query: str, *values: object) -> float:
    """The one number that a query returns."""
    (found,) = connection.execute(query, values).fetchone() or (0.0,)
    return float(found)


def mint(connection: Connection, prompts: list[str]) -> None:
    """A token for each prompt, all in one transaction, committed on return."""
    connection.execute(MINT, [prompts])


def unfinished(connection: Connection) -> int:
    """How many tokens wait or are at work."""
    return int(number(connection, UNFINISHED))


def finish(system: System, connection: Connection, seconds: float = 600.0) -> None:
    """Wait until no token waits or is at work."""
    deadline = time.monotonic() + seconds
    while left := unfinished(connection):
        system.check()
        assert time.monotonic() < deadline, f"{left} tokens are not done after {seconds:g} s"
        time.sleep(0.1)


@contextlib.contextmanager
def ground(settings: Mapping[str, str] = NO_LIMITS, *, pooled: bool = False) -> Iterator[Ground]:
    """Start PostgreSQL, with PgBouncer before it if asked, and migrate a database."""
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="imagegen-benchmark-"))
        server = stack.enter_context(EmbeddedPostgres(durable=True))
        environment = {
            "TMPDIR": name,
            # As installed: modules come compiled, whatever this shell says of a checkout.
            "PYTHONPYCACHEPREFIX": f"{name}/bytecode",
            "PYTHONDONTWRITEBYTECODE": "",
            "WORKER_BATCH_SIZE": str(SLOTS),
            **settings,
        }
        site = Site(server.url, "http://127.0.0.1:1", Path(name), environment)
        site.upgrade()
        site.run("--help")  # compiles the modules
        pooler = stack.enter_context(PgBouncer(server.url)) if pooled else None
        if pooler:
            site.database_url = pooler.url(DATABASE)
        yield Ground(server, site, pooler)


@contextlib.contextmanager
def running(ground: Ground, *, supervisors: int = 1) -> Iterator[System]:
    """The stand-in and imagegen at work; both ended afterwards."""
    with contextlib.ExitStack() as stack:
        replicate = stack.enter_context(stand_in.running())
        ground.site.provider_url = replicate.url
        programs = [
            stack.enter_context(ground.site.supervisor(procs=PROCS)) for _ in range(supervisors)
        ]
        yield System(ground, replicate, programs)
        for program in programs:
            program.stop()


@contextlib.contextmanager
def system(
    settings: Mapping[str, str] = NO_LIMITS, *, pooled: bool = False, supervisors: int = 1
) -> Iterator[System]:
    """A fresh PostgreSQL, the stand-in and imagegen at work."""
    with ground(settings, pooled=pooled) as found, running(found, supervisors=supervisors) as made:
        yield made
