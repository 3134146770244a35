"""How the work goes: the queue, asked of the database, and the workers, asked of /metrics."""

import math
from dataclasses import dataclass
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families
from psycopg.rows import kwargs_row

from imagegen.database import STATUSES, Connection, Tables, statement_timeout

# While the database is away, the exporter finds that out first: it waits 5 s for it.
ANSWER_SECONDS = 8.0


class NoSupervisorError(Exception):
    """No supervisor can be asked; the message says where, and why."""


@dataclass(frozen=True)
class QueueFigures:
    """What waits, and what the last hour brought."""

    tokens: dict[str, int]  # by status, in lower case
    oldest_waiting_seconds: float | None
    images: int
    images_per_minute: float
    p50_seconds: float | None  # from the claim of a token to its image
    p95_seconds: float | None


@dataclass(frozen=True)
class WorkerFigures:
    """A place for a worker, and the process in it; without a pid there is none."""

    slot: str
    pid: int | None
    started_at: float | None  # Unix time
    restarts: int
    busy: int
    closed_by: list[str]  # why its gate is closed; empty while it is open


QUEUE = """
    SELECT
        (SELECT jsonb_object_agg(status, tokens) FROM (
            SELECT lower(t.status::text) AS status, count(*) AS tokens
            FROM tokens_s0 t GROUP BY 1) counted) AS tokens,
        (SELECT CASE WHEN isfinite(min($minted_at))
            THEN greatest(extract(epoch FROM now() - min($minted_at)), 0)::float END
         FROM tokens_s0 t WHERE t.status = $detected) AS oldest_waiting_seconds,
        count(*) AS images, count(*) / 60.0::float AS images_per_minute,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS p50_seconds,
        percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) AS p95_seconds
    FROM (
        SELECT extract(epoch FROM closed_at - opened_at)::float AS seconds FROM generations
        WHERE closed_at > now() - interval '1 hour' AND state = 'succeeded') made"""


def read_queue(connection: Connection, tables: Tables) -> QueueFigures:
    """The queue now. Raises one of database.AWAY."""
    with statement_timeout(connection):
        cursor = connection.cursor(row_factory=kwargs_row(_queue))
        found = cursor.execute(tables.fill(QUEUE)).fetchone()
    assert found is not None  # noqa: S101 (an aggregate has a row)
    return found


def _queue(*, tokens: dict[str, int] | None, **rest: Any) -> QueueFigures:
    return QueueFigures(tokens=dict.fromkeys(STATUSES, 0) | (tokens or {}), **rest)


def read_workers(host: str, port: int) -> list[WorkerFigures]:
    """The workers of the supervisor that serves /metrics there. Raises NoSupervisorError."""
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        answer = httpx.get(f"http://{where}/metrics", timeout=ANSWER_SECONDS, trust_env=False)
        workers = parse_workers(answer.raise_for_status().text)
    except (httpx.ConnectError, httpx.TimeoutException, httpx.InvalidURL):
        raise NoSupervisorError(f"no supervisor answers on {where}") from None
    except (httpx.HTTPError, ValueError):
        raise NoSupervisorError(f"what answers on {where} is no supervisor of imagegen") from None
    return workers


def parse_workers(text: str) -> list[WorkerFigures]:
    """The workers in the text of /metrics. Raises ValueError where it is not a supervisor's."""
    samples = [
        sample for metric in text_string_to_metric_families(text) for sample in metric.samples
    ]
    if not any(sample.name == "imagegen_workers" for sample in samples):
        raise ValueError("no imagegen_workers")

    def values(name: str) -> dict[str, float]:
        """By slot."""
        found: dict[str, float] = {}
        for sample in samples:
            if sample.name == name:
                slot = sample.labels.get("slot", "")  # none from an older imagegen
                found[slot] = found.get(slot, 0.0) + sample.value
        return found

    pids, started = values("imagegen_worker_pid"), values("imagegen_worker_started_seconds")
    restarts, busy = values("imagegen_worker_restarts_total"), values("imagegen_slots_busy")
    wanted = values("imagegen_workers_wanted").get("", math.inf)  # none from an older imagegen
    # The counts of a place that nobody wants filled any more stay for ever.
    refilled = {slot for slot in restarts if int(slot.rpartition("-")[2]) < wanted}
    closed = [
        (sample.labels["slot"], sample.labels["reason"])
        for sample in samples
        if sample.name == "imagegen_gate_closed" and sample.value
    ]
    return [
        WorkerFigures(
            slot,
            pid=int(pids[slot]) if slot in pids else None,
            started_at=started.get(slot),
            restarts=int(restarts.get(slot, 0)),
            busy=int(busy.get(slot, 0)),
            closed_by=sorted(reason for of_slot, reason in closed if of_slot == slot),
        )
        for slot in sorted(pids.keys() | refilled, key=_place)
    ]


def _place(slot: str) -> tuple[int, str]:
    """worker-2 comes before worker-10."""
    return len(slot), slot
