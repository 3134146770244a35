"""What a claim costs with many tokens that wait, or that are done."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imagegen.demo.postgres import EmbeddedPostgres
from imagegen.demo.postgres_programs import VERSION_FOLDER, Programs
from tests.benchmarks import latency
from tests.benchmarks.backlogs import Backlog, Shape, Taken, backlog
from tests.benchmarks.figures import Figure
from tests.benchmarks.system import Connection, connect
from tests.support.processes import Site

CLAIMS = 200  # in each database in a run, or
LONGEST_SECONDS = 15.0  # as many as fit into this time
FIRST = Shape(finished=10_000)  # the others are compared with this
SHAPES = (
    FIRST,
    Shape(finished=1_000_000),
    Shape(finished=100_000, passed=50_000),
    Shape(finished=100_000, passed=50_000, snapshot=True),
    Shape(finished=100_000, waiting=10_000),
    Shape(finished=100_000, waiting=50_000),
)
LONG = Shape(finished=10_000_000)

# PostgreSQL as a distribution packages it compiles statements; the embedded one cannot.
PACKAGED = Path("/usr/lib/postgresql")
JIT = "lib/llvmjit.so"


@dataclass(frozen=True)
class Times:
    """What the claims of one run took in a database, in milliseconds."""

    shape: Shape
    wall: latency.Latency
    server_p50: float

    def figures(self, first: "Times") -> Iterator[Figure]:
        name = f"claim, {self.shape.name}"
        if self.shape.waiting > FIRST.waiting:
            yield Figure(f"{name}: PostgreSQL", self.server_p50, "ms", at_most=3)
            yield Figure(f"{name}: p50", self.wall.p50, "ms")
            return
        yield Figure(f"{name}: PostgreSQL", self.server_p50, "ms")
        yield Figure(f"{name}: p50", self.wall.p50, "ms")
        yield Figure(f"{name}: p99", self.wall.p99, "ms", at_most=5)
        if self is not first:
            ratio = self.wall.p50 / first.wall.p50
            yield Figure(f"{name}: p50, part of the first", ratio, "", at_most=1.2)


@contextlib.contextmanager
def backlogs(server: EmbeddedPostgres, site: Site, *, long: bool) -> Iterator[list[Backlog]]:
    """The databases, all of them on one server."""
    shapes = (*SHAPES, LONG) if long else SHAPES
    with connect(server.url) as connection, contextlib.ExitStack() as stack:
        connection.execute("ALTER SYSTEM SET autovacuum = off")
        connection.execute("SELECT pg_reload_conf()")
        yield [stack.enter_context(backlog(server.url, site, shape)) for shape in shapes]


def measure(made: list[Backlog]) -> Iterator[Figure]:
    """Claim in each of them in turn: what else the machine does slows all of them."""
    taken: list[list[Taken]] = [[] for _ in made]
    for each in made:
        each.settle()
    for _ in range(CLAIMS):
        for each, of_each in zip(made, taken, strict=True):
            if sum(one.wall for one in of_each) < 1000 * LONGEST_SECONDS:
                of_each.append(each.claim())
    times = [
        Times(
            each.shape,
            latency.of([one.wall for one in of_each]),
            latency.of([one.server for one in of_each]).p50,
        )
        for each, of_each in zip(made, taken, strict=True)
    ]
    for one in times:
        yield from one.figures(times[0])


def server() -> EmbeddedPostgres:
    """A server with JIT if one is installed, else the embedded one."""
    found = sorted(path.parents[1] for path in PACKAGED.glob(f"*/{JIT}"))
    return PackagedPostgres(found[-1]) if found else EmbeddedPostgres(durable=True)


def described(connection: Connection) -> str:
    """The server's version, and whether it compiles statements."""
    version, jit = connection.execute(
        "SELECT current_setting('server_version'), pg_jit_available()"
    ).fetchone() or ("", False)
    return f"PostgreSQL {version}, {'with' if jit else 'without'} JIT"


class PackagedPostgres(EmbeddedPostgres):
    """A server in a folder of its own like the embedded one, with a distribution's programs."""

    def __init__(self, installed: Path) -> None:
        super().__init__(durable=True)
        package = self.folder / "package"
        package.mkdir()
        (package / VERSION_FOLDER).symlink_to(installed)
        self._programs = Programs(package, self.folder)

    def _initdb(self, data: Path) -> None:
        options = f"--username=imagegen --pwfile={self._password_file} --auth=scram-sha-256"
        arguments = [*options.split(), "--encoding=UTF8", "--locale=C"]
        with self._programs.start("initdb", f"--pgdata={data}", *arguments) as process:
            if process.wait() != 0:
                raise self._error("PostgreSQL's initdb failed")
