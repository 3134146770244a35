"""What `imagegen status` shows: the queue from the database, the workers from /metrics."""

from dataclasses import replace

import httpx
from prometheus_client.parser import text_string_to_metric_families
from psycopg.rows import dict_row

from imagegen.database import Connection, Tables, queue_stats, statement_timeout
from imagegen.metrics.workers import WorkerRow, workers_in

# While the database is away, the exporter waits 5 s for it before it answers.
ANSWER_SECONDS = 8.0


class NoSupervisorError(Exception):
    """No supervisor answers; the message says where, and why."""


def read_queue(connection: Connection, tables: Tables) -> queue_stats.QueueStats:
    """Return the queue's figures. Raises one of database.AWAY."""
    with statement_timeout(connection):
        cursor = connection.cursor(row_factory=dict_row)
        row = cursor.execute(queue_stats.statement(tables)).fetchone()
    assert row is not None  # noqa: S101 (an aggregate has a row)
    stats = queue_stats.from_row(row)
    if stats.oldest_waiting_seconds is None:
        return stats
    # A mint may be ahead of the database's clock.
    return replace(stats, oldest_waiting_seconds=max(stats.oldest_waiting_seconds, 0.0))


def read_workers(host: str, port: int) -> list[WorkerRow]:
    """Return the workers of the supervisor that serves /metrics there. Raises NoSupervisorError."""
    if host == "::":  # all addresses; this host may have none of IPv6
        host = "127.0.0.1"
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        answer = httpx.get(f"http://{where}/metrics", timeout=ANSWER_SECONDS, trust_env=False)
        return parse_workers(answer.raise_for_status().text)
    except (httpx.ConnectError, httpx.TimeoutException, httpx.InvalidURL):
        raise NoSupervisorError(f"no supervisor answers on {where}") from None
    except (httpx.HTTPError, ValueError):
        raise NoSupervisorError(f"what answers on {where} is no supervisor of imagegen") from None


def parse_workers(text: str) -> list[WorkerRow]:
    """Return the workers in the text of /metrics that have or had a process.

    Raises ValueError if it is not a supervisor's.
    """
    families = text_string_to_metric_families(text)
    workers = workers_in(sample for family in families for sample in family.samples)
    if workers.processes is None:
        raise ValueError("no imagegen_workers")
    return [worker for worker in workers.rows if worker.alive or worker.restarts]
