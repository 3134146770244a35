"""`imagegen status`: the queue and the workers, now or all the time."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from imagegen.cli.options import misconfigured, settings_options, told_in_one_line
from imagegen.cli.output import Column, is_dumb, table, terminal_width, told_duration
from imagegen.cli.progress import waiting
from imagegen.config import read

if TYPE_CHECKING:
    from imagegen.database import queue_stats
    from imagegen.metrics.workers import WorkerRow

SETTINGS = ["database_url", "metrics_host", "metrics_port"]
LOOK_EVERY_SECONDS = 2.0
CLEAR = "\x1b[2J\x1b[1;1H"  # the screen, and to its top
COLUMNS = [
    Column("worker"),
    Column("pid", right=True),
    Column("up", right=True),
    Column("restarts", right=True),
    Column("busy", right=True),
    Column("gate", gives_way=True, colours={"open": "green"}),
]


@dataclass(frozen=True)
class Look:
    """What could be seen, and a line in place of what could not."""

    at: datetime
    queue: "queue_stats.QueueStats | None"
    workers: "list[WorkerRow] | None"
    no_queue: str | None = None
    no_workers: str | None = None


@click.command()
@click.option("--watch", is_flag=True, help="Look again every 2 s, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object; with --watch, a line.")
@settings_options(*SETTINGS)
def status(*, watch: bool, as_json: bool, **options: str | None) -> None:
    """Show the queue, the last hour, and the workers of this host.

    The queue is the database's, over all hosts. The workers are those of the supervisor that
    serves /metrics on --metrics-host and --metrics-port; without one, the queue is shown all the
    same. Exit code 1 where the database cannot be asked.

    Example: imagegen status --watch
    """
    values, wrong = read(os.environ, options, SETTINGS)
    if wrong:
        raise misconfigured(wrong)
    if not watch:
        look = _look(**values)
        _show(look, as_json=as_json)
        raise SystemExit(1 if look.no_queue else 0)
    # Set, because a shell starts background jobs with Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        while True:
            look = _look(**values)
            if sys.stdout.isatty() and not is_dumb():
                # Not click.clear(): it does nothing where NO_COLOR is set.
                click.echo(CLEAR, nl=False, color=True)
            _show(look, as_json=as_json, watched=True)
            time.sleep(LOOK_EVERY_SECONDS)
    except KeyboardInterrupt:
        return


@waiting()
def _look(*, database_url: str, metrics_host: str, metrics_port: int) -> Look:
    from imagegen.operator.status import NoSupervisorError, read_queue, read_workers  # noqa: PLC0415

    queue, workers, no_queue, no_workers = None, None, None, None
    try:
        with told_in_one_line(database_url):
            from imagegen import database  # noqa: PLC0415

            with database.connect(database_url, "imagegen status") as connection:
                database.check_revision(connection)
                queue = read_queue(connection, database.read_tables(connection))
    except click.ClickException as error:
        no_queue = error.message.removeprefix("imagegen: ")
    try:
        workers = read_workers(metrics_host, metrics_port)
    except NoSupervisorError as error:
        no_workers = str(error)
    return Look(datetime.now(UTC), queue, workers, no_queue, no_workers)


def _show(look: Look, *, as_json: bool, watched: bool = False) -> None:
    if as_json:
        click.echo(json.dumps(_object(look), indent=None if watched else 2))
        return
    if watched:
        click.echo(f"{look.at:%Y-%m-%d %H:%M:%S} UTC")
    for line in _queue_lines(look):
        click.echo(line)
    for line in _worker_lines(look):
        click.echo(line)
    if watched:
        click.echo()


def _queue_lines(look: Look) -> Iterator[str]:
    if look.queue is None:
        yield f"tokens     {click.style(look.no_queue, fg='red')}"
        return
    queue = look.queue
    told = [f"{count} {status}" for status, count in queue.tokens.items()]
    if queue.oldest_waiting_seconds is not None:
        told[0] += f" (the oldest has waited {told_duration(queue.oldest_waiting_seconds)})"
    yield f"tokens     {', '.join(told)}"
    hour = f"last hour  {queue.images_last_hour} images, {_per_minute(queue):.1f} a minute"
    if queue.p50_seconds is not None:
        hour += f"; claim to image p50 {queue.p50_seconds:.1f} s, p95 {queue.p95_seconds:.1f} s"
    yield hour


def _worker_lines(look: Look) -> Iterator[str]:
    if look.workers is None:
        yield f"workers    {look.no_workers}"
        return
    if not look.workers:
        yield "workers    none has started yet"
        return
    yield ""
    rows = [_row(worker, look.at) for worker in look.workers]
    yield from table(COLUMNS, rows, terminal_width())


def _row(worker: "WorkerRow", now: datetime) -> list[str]:
    if worker.pid is None:
        return [worker.slot, "-", "-", str(sum(worker.restarts.values())), "-", "not running"]
    gate = f"closed: {', '.join(worker.closed_by)}" if worker.closed_by else "open"
    up_seconds = _up_seconds(worker, now)
    return [
        worker.slot,
        str(worker.pid),
        told_duration(up_seconds),
        str(sum(worker.restarts.values())),
        str(worker.busy),
        gate,
    ]


def _up_seconds(worker: "WorkerRow", now: datetime) -> float | None:
    if worker.started_at is None:
        return None
    return max(now.timestamp() - worker.started_at, 0.0)


def _object(look: Look) -> dict[str, Any]:
    workers = None
    if look.workers is not None:
        workers = [_worker_object(worker, look.at) for worker in look.workers]
    return {
        "at": look.at.isoformat(),
        "queue": look.queue and _queue_object(look.queue),
        "no_queue": look.no_queue,
        "workers": workers,
        "no_workers": look.no_workers,
    }


def _queue_object(queue: "queue_stats.QueueStats") -> dict[str, Any]:
    return {
        "tokens": queue.tokens,
        "oldest_waiting_seconds": queue.oldest_waiting_seconds,
        "images": queue.images_last_hour,
        "images_per_minute": _per_minute(queue),
        "p50_seconds": queue.p50_seconds,
        "p95_seconds": queue.p95_seconds,
    }


def _per_minute(queue: "queue_stats.QueueStats") -> float:
    return queue.images_last_hour / 60


def _worker_object(worker: "WorkerRow", now: datetime) -> dict[str, Any]:
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
