"""`imagegen status`: the queue and the workers, once or until Ctrl-C."""

import json
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import click

from imagegen import database
from imagegen.cli.connection import connected
from imagegen.cli.errors import CommandError
from imagegen.cli.options import json_option, read_settings, settings_options
from imagegen.cli.output import Column, duration, emit, table, terminal_width
from imagegen.cli.progress import waiting
from imagegen.cli.streams import is_dumb
from imagegen.database import queue_stats
from imagegen.metrics.workers import WorkerRow
from imagegen.operator import acts
from imagegen.operator import status as figures
from imagegen.text import printable

SETTINGS = ("database_url", "metrics_host", "metrics_port")
REFRESH_SECONDS = 2.0
CLEAR = "\x1b[2J\x1b[1;1H"  # clear the screen, go to its top
COLUMNS = [
    Column("worker"),
    Column("pid", right=True),
    Column("up", right=True),
    Column("restarts", right=True),
    Column("busy", right=True),
    Column("gate", shrinks=True, colours={"open": "green"}),
]


@dataclass(frozen=True)
class StatusSnapshot:
    """The queue and the workers at one time. `no_queue` and `no_workers` say why one is missing."""

    at: datetime
    queue: queue_stats.QueueStats | None
    workers: list[WorkerRow] | None
    no_queue: str | None = None
    no_workers: str | None = None
    newest: list[acts.Act] = field(default_factory=list)  # acts of operators


@click.command()
@click.option("--watch", is_flag=True, help="Look again every 2 s, until Ctrl-C.")
@json_option("As one JSON object; with --watch, a line.")
@settings_options(*SETTINGS)
def status(*, watch: bool, as_json: bool, **options: str | None) -> None:
    """Show the queue, the last hour, and the workers of this host.

    The queue is the database's, over all hosts. The workers are those of the supervisor that
    serves /metrics on --metrics-host and --metrics-port; without one, the queue is shown all the
    same. Exit code 1 where the database cannot be asked.

    Example: imagegen status --watch
    """
    values = read_settings(options, *SETTINGS)
    if watch:
        # A shell starts background jobs with SIGINT ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            while True:
                _show_next(_read(**values), as_json=as_json)
                time.sleep(REFRESH_SECONDS)
        except KeyboardInterrupt:
            return
    snapshot = _read(**values)
    emit(_object(snapshot), _lines(snapshot), as_json=as_json)
    raise SystemExit(1 if snapshot.no_queue else 0)


@waiting()
def _read(*, database_url: str, metrics_host: str, metrics_port: int) -> StatusSnapshot:
    queue, workers, no_queue, no_workers = None, None, None, None
    newest: list[acts.Act] = []
    try:
        with connected(database_url, "imagegen status") as connection:
            queue = figures.read_queue(connection, database.read_tables(connection))
            newest = acts.newest(connection)
    except CommandError as error:
        no_queue = str(error.messages[0])
    try:
        workers = figures.read_workers(metrics_host, metrics_port)
    except figures.NoSupervisorError as error:
        no_workers = str(error)
    return StatusSnapshot(datetime.now(UTC), queue, workers, no_queue, no_workers, newest)


def _show_next(snapshot: StatusSnapshot, *, as_json: bool) -> None:
    """Print a snapshot in place of the one before: on a cleared screen, or below it."""
    if sys.stdout.isatty() and not is_dumb():
        # Not click.clear(): it does nothing where NO_COLOR is set.
        click.echo(CLEAR, nl=False, color=True)
    if as_json:
        click.echo(json.dumps(_object(snapshot)))
        return
    for line in (f"{snapshot.at:%Y-%m-%d %H:%M:%S} UTC", *_lines(snapshot), ""):
        click.echo(line)


def _lines(snapshot: StatusSnapshot) -> Iterator[str]:
    if snapshot.queue is None:
        yield f"tokens     {click.style(snapshot.no_queue, fg='red')}"
    else:
        yield from _queue_lines(snapshot.queue)
    for number, act in enumerate(snapshot.newest):
        yield f"{'' if number else 'operators':<9}  {act}"
    if snapshot.workers is None:
        yield f"workers    {snapshot.no_workers}"
    elif not snapshot.workers:
        yield "workers    none has started yet"
    else:
        yield ""
        rows = [_row(worker, snapshot.at) for worker in snapshot.workers]
        yield from table(COLUMNS, rows, terminal_width())


def _queue_lines(queue: queue_stats.QueueStats) -> Iterator[str]:
    counts = [f"{count} {status}" for status, count in queue.tokens.items()]
    if queue.oldest_waiting_seconds is not None:
        counts[0] += f" (the oldest has waited {duration(queue.oldest_waiting_seconds)})"
    if queue.pause:
        pause = printable(str(queue.pause))
        yield f"{click.style('paused', fg='yellow')}     {pause} (`imagegen resume` ends it)"
    yield f"tokens     {', '.join(counts)}"
    if queue.tokens_held:
        yield f"held       {queue.tokens_held}: `imagegen tokens release` lets them go on"
    if queue.closings_refused:
        yield f"refused    {queue.closings_refused} by tokens_s0: `imagegen doctor` says why"
    if set_aside := sum(queue.tokens_set_aside.values()):
        yield f"set aside  {set_aside}: `imagegen doctor` says which and why"
    if queue.audit_unexplained:
        age = duration(queue.audit_age_seconds)
        yield f"audit      {queue.audit_unexplained} unexplained, {age} ago: `imagegen audit`"
    hour = f"last hour  {queue.images_last_hour} images, {queue.images_last_hour / 60:.1f} a minute"
    if queue.p50_seconds is not None:
        hour += f"; claim to image p50 {queue.p50_seconds:.1f} s, p95 {queue.p95_seconds:.1f} s"
    yield hour


def _row(worker: WorkerRow, now: datetime) -> list[str]:
    restarts = str(sum(worker.restarts.values()))
    if worker.pid is None:
        return [worker.slot, "-", "-", restarts, "-", "not running"]
    up = duration(_up_seconds(worker, now))
    gate = f"closed: {', '.join(worker.closed_by)}" if worker.closed_by else "open"
    return [worker.slot, str(worker.pid), up, restarts, str(worker.busy), gate]


def _up_seconds(worker: WorkerRow, now: datetime) -> float | None:
    if worker.started_at is None:
        return None
    return max(now.timestamp() - worker.started_at, 0.0)


def _object(snapshot: StatusSnapshot) -> dict[str, Any]:
    workers = snapshot.workers
    return {
        "at": snapshot.at.isoformat(),
        "queue": snapshot.queue and _queue_object(snapshot.queue),
        "no_queue": snapshot.no_queue,
        "workers": workers and [_worker_object(worker, snapshot.at) for worker in workers],
        "no_workers": snapshot.no_workers,
        "acts": [asdict(act) for act in snapshot.newest],
    }


def _queue_object(queue: queue_stats.QueueStats) -> dict[str, Any]:
    return {
        "tokens": queue.tokens,
        "tokens_set_aside": queue.tokens_set_aside,
        "oldest_waiting_seconds": queue.oldest_waiting_seconds,
        "closings_refused": queue.closings_refused,
        "tokens_held": queue.tokens_held,
        "paused": asdict(queue.pause) if queue.pause else None,
        "images": queue.images_last_hour,
        "images_per_minute": queue.images_last_hour / 60,
        "p50_seconds": queue.p50_seconds,
        "p95_seconds": queue.p95_seconds,
        "audit_unexplained": queue.audit_unexplained,
        "audit_age_seconds": queue.audit_age_seconds,
    }


def _worker_object(worker: WorkerRow, now: datetime) -> dict[str, Any]:
    started = worker.started_at
    return {
        "slot": worker.slot,
        "pid": worker.pid,
        "started_at": started and datetime.fromtimestamp(started, UTC).isoformat(),
        "restarts": sum(worker.restarts.values()),
        "busy": worker.busy,
        "closed_by": worker.closed_by,
        "gate_open": not worker.closed_by,
        "up_seconds": _up_seconds(worker, now),
    }
