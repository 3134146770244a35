"""The rows of the table: what each measures in a fresh system, as figures with their goals."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import click

from tests.benchmarks import (
    backlogs,
    claims,
    idle,
    latency,
    load,
    memory,
    page,
    stand_in,
    stand_in_speed,
    start,
    supervisors,
    system,
)
from tests.benchmarks.backlogs import Shape
from tests.benchmarks.figures import Figure
from tests.support.pooler import is_installed

TOKENS = 400
TOKENS_WITHOUT_LATENCY = 3000
MINTED_AT_ONCE = 20
# Above this part of one core the stand-in may be what limits imagegen.
STAND_IN_PERCENT = 70.0

Run = list[Figure]


@dataclass(frozen=True)
class Options:
    """How a row is measured."""

    runs: int
    long: bool


@dataclass(frozen=True)
class Row:
    """One row: how it is measured, run by run."""

    measure: Callable[[Options], Iterator[Run]]
    on_request: bool = False  # only if it is named, or its option is given


def tell(what: str) -> None:
    click.echo(f"{what} …", err=True)


def steady(options: Options, *, pooled: bool = False) -> Iterator[Run]:
    """Tokens that take a second each."""
    name = f"{TOKENS} of 1 s{', pooled' * pooled}"
    for _ in range(options.runs):
        tell(f"{name}: minting")
        with system.system(pooled=pooled) as running, running.observe() as observer:
            peaks = load.Peaks(running, observer)
            found = load.measure(running, [1.0] * TOKENS, [1.0], look=peaks.look)
        yield [
            Figure(f"{name}: part of a perfect pool", _part(found), "", at_least=0.98),
            *found.figures(name, 2.2, 1.2),
            Figure(f"{name}: memory (PSS), most", peaks.megabytes, "MiB", at_most=120),
            Figure(f"{name}: sessions, most", peaks.sessions, "", at_most=12),
        ]


def lognormal(options: Options, *, pooled: bool = False) -> Iterator[Run]:
    """Tokens of which half take up to a second, and 95 % up to four."""
    name = f"{TOKENS} lognormal{', pooled' * pooled}"
    warm_up = load.lognormal(TOKENS, load.WARM_UP_SEED)
    for _ in range(options.runs):
        tell(f"{name}: minting")
        with system.system(pooled=pooled) as running:
            found = load.measure(running, load.lognormal(TOKENS), warm_up)
        yield [
            Figure(f"{name}: part of a perfect pool", _part(found), "", at_least=0.96),
            *found.figures(name, 3.5, 1.6),
        ]


def without_latency(options: Options, *, pooled: bool = False) -> Iterator[Run]:
    """Tokens whose predictions have ended when they are first polled."""
    name = f"{TOKENS_WITHOUT_LATENCY} at once{', pooled' * pooled}"
    for _ in range(options.runs):
        with stand_in.running() as alone:
            alone_per_second = stand_in_speed.tokens_per_second(alone)
        tell(f"{name}: minting")
        with system.system(pooled=pooled) as running:
            found = load.measure(running, [0.0] * TOKENS_WITHOUT_LATENCY, [0.0])
        busy_percent = 100 * found.cost.stand_in / found.seconds
        if busy_percent > STAND_IN_PERCENT or alone_per_second < 2 * found.per_second:
            tell(f"{name}: the stand-in is the limit")
        yield [
            Figure(f"{name}: tokens a second", found.per_second, "/s", at_least=450),
            *found.figures(name, 1.9, 1.0),
            Figure(f"{name}: stand-in alone", alone_per_second, "/s", at_least=1000),
            Figure(f"{name}: stand-in, of one core", busy_percent, "%", at_most=STAND_IN_PERCENT),
        ]


def single(options: Options) -> Iterator[Run]:
    """One token into an idle system."""
    for _ in range(options.runs):
        tell(f"minting {latency.MINTS} tokens, one at a time")
        with system.system() as running:
            found = latency.measure(running)
        yield [
            Figure("commit to POST, p50", found.p50, "ms", at_most=4),
            Figure("commit to POST, p95", found.p95, "ms", at_most=6),
            Figure("commit to POST, p99", found.p99, "ms", at_most=8),
        ]


def nothing(options: Options) -> Iterator[Run]:
    """No tokens at all."""
    for _ in range(options.runs):
        tell(f"watching it do nothing for {idle.WATCH_SECONDS:g} s")
        with system.system() as running:
            found = idle.measure(running)
        yield [
            Figure("idle: CPU of one core, imagegen", found.imagegen_percent, "%", at_most=0.2),
            Figure("idle: CPU of one core, PostgreSQL", found.postgres_percent, "%", at_most=0.15),
            Figure("idle: memory (PSS)", found.megabytes, "MiB", at_most=72),
            Figure("idle: sessions", found.sessions, "", at_most=8),
            Figure("idle: transactions", found.transactions_per_second, "/s", at_most=2),
        ]


def mint(options: Options) -> Iterator[Run]:
    """As many tokens as there are slots, with all settings as they are by default."""
    for _ in range(options.runs):
        tell(f"minting {MINTED_AT_ONCE} tokens with default settings")
        with system.system({}) as running:
            found = load.measure(running, [1.0] * MINTED_AT_ONCE, [1.0])
        name = f"{MINTED_AT_ONCE} minted, defaults: last image after"
        yield [Figure(name, found.seconds, "s", at_most=1.3)]


def waiting_and_finished(options: Options) -> Iterator[Run]:
    """Claims, in databases that are made once for all runs."""
    with system.ground() as ground, claims.server() as server:
        with system.connect(server.url) as connection:
            tell(f"{claims.described(connection)}: making databases of up to a million tokens")
        with claims.backlogs(server, ground.site, long=options.long) as made:
            for _ in range(options.runs):
                tell("claiming in each of them in turn")
                yield list(claims.measure(made))


def looks(options: Options) -> Iterator[Run]:
    """The status page, a token's page, a search and /metrics, among a million tokens."""
    shape = Shape(finished=1_000_000)
    with system.ground() as ground:
        tell("making a database of a million tokens")
        with backlogs.backlog(ground.server.url, ground.site, shape) as made:
            for _ in range(options.runs):
                found = page.measure(made.url)
                yield [
                    Figure("status page, 1,000,000 finished", found.page, "ms", at_most=200),
                    Figure("/metrics, 1,000,000 finished", found.metrics, "ms", at_most=200),
                    Figure("token's page, 1,000,000 finished", found.token, "ms", at_most=200),
                    Figure("search, 1,000,000 finished", found.search, "ms", at_most=200),
                ]


def starts(options: Options) -> Iterator[Run]:
    """From the command to its first effect."""
    for _ in range(options.runs):
        tell("starting imagegen")
        with system.ground() as ground:
            found = start.measure(ground)
        yield [
            Figure("imagegen --help", found.help_seconds, "s", at_most=0.12),
            Figure("supervise to the first claim", found.claim_seconds, "s", at_most=0.5),
        ]


def growth(options: Options) -> Iterator[Run]:
    """Memory over many predictions."""
    for _ in range(options.runs):
        tell(f"making {memory.LAST:,} predictions")
        with system.system() as running:
            found = memory.measure(running)
        ratio = found.last / found.first
        yield [
            Figure(f"memory after {memory.FIRST:,} predictions", found.first, "MiB"),
            Figure(f"memory after {memory.LAST:,} predictions", found.last, "MiB"),
            Figure("memory, last part of first", ratio, "", at_most=1.05),
        ]


def several(options: Options) -> Iterator[Run]:
    """More and more supervisors on one database."""
    for _ in range(options.runs):
        found = []
        for count in supervisors.COUNTS:
            tell(f"{supervisors.TOKENS} tokens for {count} supervisors")
            with system.system(supervisors=count) as running:
                found.append(supervisors.measure(running))
        yield [figure for each in found for figure in _of_supervisors(each)] + [
            Figure("supervisors: bends after", supervisors.bends_at(found), "")
        ]


def _of_supervisors(found: supervisors.Throughput) -> Iterator[Figure]:
    name = f"{found.supervisors} supervisor{'s' * (found.supervisors > 1)}"
    of_1000 = 1000 / found.load.tokens
    yield Figure(f"{name}: tokens a second", found.load.per_second, "/s")
    yield Figure(f"{name}: CPU of 1000, imagegen", found.load.cost.imagegen * of_1000, "s")
    yield Figure(f"{name}: CPU of 1000, PostgreSQL", found.load.cost.postgres * of_1000, "s")
    yield Figure(f"{name}: sessions waiting for a lock", found.lock_waits, "")


def through_pooler(options: Options) -> Iterator[Run]:
    """The first three rows, through PgBouncer in transaction mode, if it is installed."""
    if not is_installed():
        tell("pooled: left out, because pgbouncer is not installed")
        return
    for measure in (steady, lognormal, without_latency):
        yield from measure(options, pooled=True)


def _part(found: load.Load) -> float:
    return found.perfect_seconds / found.seconds


ROWS = {
    "load": Row(steady),
    "lognormal": Row(lognormal),
    "burst": Row(without_latency),
    "latency": Row(single),
    "idle": Row(nothing),
    "mint": Row(mint),
    "claims": Row(waiting_and_finished),
    "page": Row(looks),
    "start": Row(starts),
    "memory": Row(growth, on_request=True),
    "supervisors": Row(several, on_request=True),
    "pooled": Row(through_pooler, on_request=True),
}
