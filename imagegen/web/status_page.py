"""The values and texts of the status page, for its template."""

from dataclasses import dataclass

from imagegen.failures import Reason
from imagegen.metrics.workers import WorkerRow
from imagegen.text import plural, shorten
from imagegen.web.formatting import SPACE, count, duration, estimate, listed, printable, why_closed
from imagegen.web.image_sources import HOME, source
from imagegen.web.snapshot import (
    COUNTED_UP_TO,
    MESSAGE_CHARACTERS,
    PICTURES,
    STATEMENT_TIMEOUT_MILLISECONDS,
    UNFETCHED_UP_TO,
    Picture,
    Snapshot,
)

# A quarter of an hour before Replicate deletes an image.
UNFETCHED_LONG_SECONDS = 2700.0


@dataclass(frozen=True)
class DatabaseProblem:
    """Why there is no snapshot of the database, as a title and in full."""

    title: str
    message: str


TOO_SLOW = DatabaseProblem(
    "the database is too slow",
    f"It answers, but counting took longer than {STATEMENT_TIMEOUT_MILLISECONDS / 1000:g} s."
    " Workers go on meanwhile. After a restore or an upgrade of PostgreSQL it may want ANALYZE.",
)


def database_away(why: str) -> DatabaseProblem:
    return DatabaseProblem(
        "the database does not answer",
        f"{shorten(why[:1].upper() + why[1:], MESSAGE_CHARACTERS)}. Workers wait for the database,"
        " and go on by themselves when it is back.",
    )


@dataclass(frozen=True)
class StatusPage:
    """All that the status page shows."""

    now: Snapshot | DatabaseProblem
    workers: list[WorkerRow]
    busy_elsewhere: int  # tokens at work with other supervisors
    slots: int  # of each worker
    copies: bool  # kept copies of images are served
    home: str  # the page that images lead back to: HOME or PAUSED

    @property
    def snapshot(self) -> Snapshot | None:
        return self.now if isinstance(self.now, Snapshot) else None

    @property
    def pictures(self) -> list[Picture]:
        return self.snapshot.pictures if self.snapshot else []

    @property
    def refreshes(self) -> bool:
        return self.home == HOME

    @property
    def title(self) -> str:
        """The state of the queue in a few words."""
        if isinstance(self.now, DatabaseProblem):
            return self.now.title
        if not any(worker.alive or worker.starting for worker in self.workers):
            return "no worker is running"
        numbers = {"waiting": self.now.waiting, "at work": self.now.generating}
        parts = [f"{tally(number)} {state}" for state, number in numbers.items() if number]
        if self.now.pause:
            parts.insert(0, "paused")
        # One closed gate is enough: with little to do, the others have not asked since.
        elif any(worker.closed_by for worker in self.workers):
            parts.insert(0, "gate closed")
        return ", ".join(parts) or "nothing waits"

    @property
    def problems(self) -> list[str]:
        problems = [self.now.message] if isinstance(self.now, DatabaseProblem) else []
        if self.snapshot and self.snapshot.pause:
            pause = shorten(str(self.snapshot.pause), MESSAGE_CHARACTERS)
            problems.append(f"paused {pause}. No host claims or sends anything new.")
        missing = [worker.slot for worker in self.workers if not (worker.alive or worker.starting)]
        if missing:
            are = "is" if len(missing) == 1 else "are"
            problems.append(f"{listed(missing)} {are} not running: the log says why.")
        closed: dict[str, list[str]] = {}
        for worker in self.workers:
            for reason in worker.closed_by:
                closed.setdefault(reason, []).append(worker.slot)
        if self.snapshot and self.snapshot.pause:  # which is told already
            closed.pop(Reason.PAUSED, None)
        for reason, slots in closed.items():
            ask = "asks" if len(slots) == 1 else "ask"
            problems.append(f"{listed(slots)} {ask} for no images: {why_closed(reason)}.")
        if self.snapshot and self.snapshot.closings_refused:
            of_tokens = plural(self.snapshot.closings_refused, "token")
            problems.append(
                f"tokens_s0 refuses what became of {of_tokens}: imagegen doctor says why."
                " It is kept and tried again."
            )
        return [printable(problem) for problem in problems]

    @property
    def wall(self) -> list[tuple[Picture, str]]:
        """Pictures that are still there, each with the URL of its image."""
        found = ((each, source(each, copies=self.copies)) for each in self.pictures)
        return [(picture, url) for picture, url in found if url]

    @property
    def gone(self) -> list[Picture]:
        return [each for each in self.pictures if not source(each, copies=self.copies)]

    @property
    def wall_title(self) -> str:
        is_full = len(self.pictures) == PICTURES
        return f"The latest {PICTURES} images" if is_full else "Latest images"

    @property
    def work_note(self) -> str:
        slots = sum(worker.alive for worker in self.workers) * self.slots
        here = f"{count(slots)} slots here"
        elsewhere = self.busy_elsewhere
        return f"{here}; {count(elsewhere)} at work elsewhere" if elsewhere else here


def tally(number: int) -> str:
    return count(number) if number <= COUNTED_UP_TO else estimate(number)


def done(now: Snapshot) -> str:
    """Return the number of tokens with an image. What remains of an estimate is an estimate."""
    return estimate(now.done) if now.tokens > COUNTED_UP_TO else count(now.done)


def waiting_note(now: Snapshot) -> str:
    if not now.waiting:
        return ""
    notes = []
    if now.oldest_waiting_seconds is not None:
        notes.append(f"the oldest for {duration(now.oldest_waiting_seconds)}")
    if now.paused:
        notes.append(f"{count(now.paused)} try again later")
    if now.held:
        notes.append(f"{count(now.held)} held")
    return "; ".join(notes)


def unfetched_note(now: Snapshot) -> str:
    if not now.unfetched or now.oldest_unfetched_seconds is None:
        return ""
    number = count(now.unfetched)
    if now.unfetched > UNFETCHED_UP_TO:
        number = f"more than {count(UNFETCHED_UP_TO)}"
    return f"{number} not fetched yet, the oldest for {duration(now.oldest_unfetched_seconds)}"


def unfetched_long(now: Snapshot) -> bool:
    return (now.oldest_unfetched_seconds or 0) > UNFETCHED_LONG_SECONDS


def restart_causes(worker: WorkerRow) -> str:
    causes = sorted(worker.restarts.items())
    return ", ".join(f"{cause}{SPACE}{count(times)}" for cause, times in causes)
