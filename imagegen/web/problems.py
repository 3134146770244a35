"""What the status page warns of, each with the section of the runbook that says what to do."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from imagegen.failures import Reason
from imagegen.metrics.workers import WorkerRow
from imagegen.text import plural, shorten
from imagegen.web.formatting import listed, printable, why_closed
from imagegen.web.snapshot import MESSAGE_CHARACTERS, STATEMENT_TIMEOUT_MILLISECONDS, Snapshot

RUNBOOK = "deploy/RUNBOOK.md"
# The sections of reasons that have one of their own.
SECTIONS = {
    Reason.UNREACHABLE: "ImagegenReplicateAway",
    Reason.UNAVAILABLE: "ImagegenReplicateAway",
    Reason.FAILING: "ImagegenReplicateAway",
    Reason.UNREADABLE: "ImagegenUnreadable",
    Reason.DAILY_LIMIT: "ImagegenDailyLimitReached",
    Reason.DAILY_BUDGET: "ImagegenDailyBudgetReached",
    Reason.PAUSED: "ImagegenPaused",
    Reason.THROTTLED: "ImagegenWaiting",
}


@dataclass(frozen=True)
class Problem:
    """What is wrong, in one line, and the heading of the runbook's section about it."""

    text: str
    section: str


@dataclass(frozen=True)
class DatabaseProblem:
    """Why there is no snapshot of the database, as a title and in full."""

    title: str
    message: str
    section: str = "ImagegenDatabaseAway"


TOO_SLOW = DatabaseProblem(
    "the database is too slow",
    f"It answers, but counting took longer than {STATEMENT_TIMEOUT_MILLISECONDS / 1000:g} s."
    " Workers go on meanwhile. After a restore or an upgrade of PostgreSQL it may want ANALYZE.",
    "ImagegenFiguresMissing",
)


def database_away(why: str) -> DatabaseProblem:
    return DatabaseProblem(
        "the database does not answer",
        f"{shorten(why[:1].upper() + why[1:], MESSAGE_CHARACTERS)}. Workers wait for the database,"
        " and go on by themselves when it is back.",
    )


def problems(now: Snapshot | DatabaseProblem, workers: list[WorkerRow]) -> list[Problem]:
    """Return the problems: of the database, the workers, the gates, then of tokens."""
    found = [*_of_database(now), *_of_workers(workers), *_of_gates(now, workers), *_of_tokens(now)]
    return [Problem(printable(each.text), each.section) for each in found]


def _of_database(now: Snapshot | DatabaseProblem) -> Iterator[Problem]:
    if isinstance(now, DatabaseProblem):
        yield Problem(now.message, now.section)
    elif now.pause:
        pause = shorten(str(now.pause), MESSAGE_CHARACTERS)
        text = f"paused {pause}. No host claims or sends anything new."
        yield Problem(text, SECTIONS[Reason.PAUSED])


def _of_workers(workers: Iterable[WorkerRow]) -> Iterator[Problem]:
    there = [worker.alive or worker.starting for worker in workers]
    missing = [worker.slot for worker in workers if not (worker.alive or worker.starting)]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        section = "ImagegenRestarting" if any(there) else "ImagegenNoWorkers"
        yield Problem(f"{listed(missing)} {are} not running: the log says why.", section)


def _of_gates(now: Snapshot | DatabaseProblem, workers: Iterable[WorkerRow]) -> Iterator[Problem]:
    closed: dict[str, list[str]] = {}
    for worker in workers:
        for reason in worker.closed_by:
            closed.setdefault(reason, []).append(worker.slot)
    if isinstance(now, Snapshot) and now.pause:  # _of_database has reported it
        closed.pop(Reason.PAUSED, None)
    for reason, slots in closed.items():
        ask = "asks" if len(slots) == 1 else "ask"
        section = SECTIONS[Reason(reason)] if reason in SECTIONS else "ImagegenGateClosed"
        yield Problem(f"{listed(slots)} {ask} for no images: {why_closed(reason)}.", section)


def _of_tokens(now: Snapshot | DatabaseProblem) -> Iterator[Problem]:
    if isinstance(now, Snapshot) and now.closings_refused:
        of_tokens = plural(now.closings_refused, "token")
        yield Problem(
            f"tokens_s0 refuses what became of {of_tokens}: imagegen doctor says why."
            " It is kept and tried again.",
            "ImagegenClosingRefused",
        )
