"""The values and texts of the status page, for its template."""

from dataclasses import dataclass

from imagegen.failures import FAILURES, Kind
from imagegen.metrics.workers import WorkerRow
from imagegen.web import search_input
from imagegen.web.formatting import SPACE, UNRECORDED, count, duration, estimate
from imagegen.web.image_sources import HOME, source
from imagegen.web.problems import DatabaseProblem, Problem, problems
from imagegen.web.search_input import Search
from imagegen.web.snapshot import (
    COUNTED_UP_TO,
    FAILURES_GROUPED,
    PICTURES,
    UNFETCHED_UP_TO,
    Picture,
    Snapshot,
)

# A quarter of an hour before Replicate deletes an image.
UNFETCHED_LONG_SECONDS = 2700.0
# The same as in the alert ImagegenWaiting.
WAITING_LONG_SECONDS = 600.0


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
        # One closed gate is enough: with little to do, the others have sent nothing since.
        elif any(worker.closed_by for worker in self.workers):
            parts.insert(0, "gate closed")
        return ", ".join(parts) or "nothing waits"

    @property
    def problems(self) -> list[Problem]:
        return problems(self.now, self.workers)

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
    """Return the number of tokens with an image: an estimate if that of all tokens is one."""
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


def waiting_long(now: Snapshot) -> bool:
    return (now.oldest_waiting_seconds or 0) > WAITING_LONG_SECONDS


def kind_words(kind: str | None) -> str:
    """Return what a kind of failure means; its name if another version recorded it."""
    return FAILURES[Kind(kind)].text if kind in set(Kind) else kind or UNRECORDED


def kind_path(kind: str | None) -> str | None:
    """Return the path of the failed tokens of a kind; None if they cannot be searched for."""
    failure = kind or search_input.UNRECORDED
    known = failure in search_input.FAILURES
    return Search(status=search_input.FAILED, failure=failure).path() if known else None


def kinds_note(now: Snapshot) -> str:
    """Return which failed tokens are counted by kind; empty if all are."""
    if now.failed <= FAILURES_GROUPED:
        return ""
    return f"Of the newest {count(FAILURES_GROUPED)} mints that failed."


def restart_causes(worker: WorkerRow) -> str:
    causes = sorted(worker.restarts.items())
    return ", ".join(f"{cause}{SPACE}{count(times)}" for cause, times in causes)
