"""What only the database knows, for those who ask the exporter."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from psycopg.rows import dict_row

from imagegen.config import Settings
from imagegen.database import (
    AWAY,
    STATUSES,
    Connection,
    NotMigratedError,
    Tables,
    connect,
    read_tables,
)

T = TypeVar("T")

# A scrape waits 10 s by default, and has more to tell than the database; a database that hangs
# answers nothing at all, so the statement's own limit is not enough.
PATIENCE_SECONDS = 5.0
STATEMENT_TIMEOUT_MILLISECONDS = 5000
# To look at no row of a table waits for nothing but a lock.
LOOK_TIMEOUT_MILLISECONDS = 1000
NO_ANSWER = (psycopg.Error, NotMigratedError, TimeoutError)

# The oldest unfetched image is looked for among so many of the last day, one after the other:
# 15 ms where all of them have been fetched.
IMAGES_LOOKED_AT = 10_000

# SQL for whether no next stage has taken the token of `image` on. One with another URL had new
# attempts since. As an aggregate it is looked up for each image, and is never a join with all
# tokens, which takes a second where there are a million.
IS_UNFETCHED = """(
        SELECT bool_or(t.status = $uploading AND t.image_url = image.image_url)
        FROM tokens_s0 t WHERE t.token_id = image.token_id)"""


def _first_unfetched(order: str) -> str:
    """SQL for the age of the oldest unfetched image of the last day, among the first in this
    order. Older ones are long gone: Replicate deletes them after an hour."""
    return f"""(
        SELECT extract(epoch FROM now() - closed_at)::float FROM (
            SELECT token_id, image_url, closed_at FROM generations
            WHERE state = 'succeeded' AND closed_at > now() - interval '1 day'
            ORDER BY closed_at {order} LIMIT {IMAGES_LOOKED_AT}) image
        WHERE {IS_UNFETCHED} ORDER BY closed_at LIMIT 1)"""


# Where so many of the day's first images have been fetched, the newest are those that wait.
OLDEST_UNFETCHED = f"coalesce({_first_unfetched('ASC')}, {_first_unfetched('DESC')})"

TABLES = "SELECT FROM tokens_s0, authors, generations LIMIT 0"
KNOWN = f"""
SELECT
    (SELECT coalesce(json_object_agg(lower(status::text), counted), '{{}}') FROM (
        SELECT status, count(*) AS counted FROM tokens_s0 GROUP BY status) counted) AS tokens,
    (SELECT extract(epoch FROM now() - min($minted_at))::float FROM tokens_s0 t
     WHERE t.status = $detected AND isfinite(t.created_at)) AS oldest_waiting_seconds,
    (SELECT extract(epoch FROM now() - min(opened_at))::float FROM generations
     WHERE state = 'open') AS oldest_generating_seconds,
    {OLDEST_UNFETCHED} AS oldest_unfetched_seconds,
    count(*) AS predictions_last_day, sum(images) AS images_last_day
FROM generations
WHERE requested_at > now() - interval '24 hours' AND prediction_id IS NOT NULL"""


@dataclass(frozen=True)
class Known:
    """What is asked for each scrape."""

    tokens: dict[str, float]  # by status
    oldest_waiting_seconds: float
    oldest_generating_seconds: float
    oldest_unfetched_seconds: float
    predictions_last_day: float
    images_last_day: float


class DatabaseCollector(Collector):
    """Asks over one connection, in a thread of its own: nobody waits longer than he wants to."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings = settings
        self._name = name
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="database")
        self._connection: Connection | None = None
        self._tables: Tables | None = None

    def collect(self) -> Iterator[Metric]:
        """Nothing while the database is away: the other metrics are served all the same."""
        try:
            known = self.ask(read_known, PATIENCE_SECONDS)
        except NO_ANSWER:
            return
        tokens = GaugeMetricFamily("imagegen_tokens", "Tokens, by status.", labels=["status"])
        for status, count in known.tokens.items():
            tokens.add_metric([status], count)
        yield tokens
        for name, help_text, value in [
            (
                "oldest_waiting_seconds",
                "Since the mint of the oldest waiting token.",
                known.oldest_waiting_seconds,
            ),
            (
                "oldest_generating_seconds",
                "Since the claim of the token that has been at work longest.",
                known.oldest_generating_seconds,
            ),
            (
                "oldest_unfetched_seconds",
                "Age of the oldest image that nobody has taken on; Replicate deletes it after"
                " an hour.",
                known.oldest_unfetched_seconds,
            ),
            (
                "predictions_last_day",
                "Predictions that Replicate accepted in the last 24 hours, over all hosts.",
                known.predictions_last_day,
            ),
            (
                "images_last_day",
                "Images made in the last 24 hours, over all hosts.",
                known.images_last_day,
            ),
            ("daily_limit", "Predictions allowed in any 24 hours.", self._settings.daily_limit),
            ("price", "What an image costs, as it was set.", self._settings.price),
        ]:
            if value is not None:
                yield GaugeMetricFamily(f"imagegen_{name}", help_text, value)

    def ask(
        self,
        question: Callable[[Connection, Tables], T],
        patience_seconds: float,
    ) -> T:
        """What a question brings. Raises one of NO_ANSWER, a TimeoutError when patience ends."""
        asked = self._thread.submit(self._ask, question)
        try:
            return asked.result(patience_seconds)
        except TimeoutError:
            asked.cancel()  # where it waits behind another one that hangs
            raise TimeoutError(f"no answer within {patience_seconds:g} s") from None

    def _ask(self, question: Callable[[Connection, Tables], T]) -> T:
        idle = self._connection
        try:
            return question(*self._connected())
        except psycopg.errors.QueryCanceled:  # it took too long; the connection is well
            raise
        except (*AWAY, NotMigratedError):
            self._connection = None
            if idle is None or not idle.closed:
                raise
        return question(*self._connected())  # the database cuts what lies idle

    def _connected(self) -> tuple[Connection, Tables]:
        if self._connection is None or self._tables is None:
            self._connection = connect(self._settings.database_url, self._name)
            self._tables = read_tables(self._connection)
        return self._connection, self._tables


def look_at_tables(connection: Connection, tables: Tables) -> None:
    """The database answers and its tables are there, or one of NO_ANSWER is raised."""
    read_row(connection, TABLES, LOOK_TIMEOUT_MILLISECONDS)


def read_known(connection: Connection, tables: Tables) -> Known:
    """The numbers of a scrape. Raises one of database.AWAY."""
    found = read_row(connection, tables.fill(KNOWN), STATEMENT_TIMEOUT_MILLISECONDS)
    assert found is not None  # noqa: S101 (an aggregate has a row)
    tokens = dict.fromkeys(STATUSES, 0.0) | found.pop("tokens")
    return Known(tokens, **{name: float(value or 0.0) for name, value in found.items()})


def read_row(connection: Connection, sql: str, timeout_milliseconds: int) -> dict[str, Any] | None:
    """The first row of a statement that may not take long. Raises one of database.AWAY."""
    cursor = connection.cursor(row_factory=dict_row)
    # Without parameters both travel together: one round trip, and one transaction without BEGIN.
    cursor.execute(f"SET LOCAL statement_timeout = {timeout_milliseconds}; {sql}".encode())
    cursor.nextset()
    return cursor.fetchone()
