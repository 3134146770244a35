"""What only the database knows, for those who ask the exporter."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from string import Template
from typing import TypeVar

import psycopg
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from imagegen.database import (
    AWAY,
    STATUSES,
    Connection,
    NotMigratedError,
    Tables,
    connect,
    read_tables,
)
from imagegen.settings import Settings

T = TypeVar("T")

# A scrape waits 10 s by default, and has more to tell than the database; a database that hangs
# answers nothing at all, so the statement's own limit is not enough.
PATIENCE_SECONDS = 5.0
STATEMENT_TIMEOUT_MILLISECONDS = 5000
NO_ANSWER = (psycopg.Error, NotMigratedError, TimeoutError)

TOKENS = """
SELECT lower(status::text), count FROM (
    SELECT status, count(*)::float AS count FROM tokens_s0 GROUP BY status) counted"""
# Images that nobody has fetched for a day are long gone: Replicate deletes them after an hour.
AGES = """
SELECT
    (SELECT extract(epoch FROM now() - min($minted_at))::float FROM tokens_s0 t
     WHERE t.status = $detected AND isfinite(t.created_at)),
    (SELECT extract(epoch FROM now() - min(opened_at))::float FROM generations
     WHERE state = 'open'),
    (SELECT extract(epoch FROM now() - min(g.closed_at))::float
     FROM generations g JOIN tokens_s0 t USING (token_id)
     WHERE g.closed_at > now() - interval '1 day' AND g.state = 'succeeded'
        AND t.status = $uploading)"""
LAST_DAY = """
SELECT count(*)::float, coalesce(sum(images), 0)::float FROM generations
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


def read_known(connection: Connection, tables: Tables) -> Known:
    """The numbers of a scrape. Raises one of database.AWAY."""
    ages_sql = Template(AGES).substitute(tables.labels, minted_at=tables.minted_at)
    with connection.transaction():
        connection.execute(f"SET LOCAL statement_timeout = {STATEMENT_TIMEOUT_MILLISECONDS}")
        counts = connection.execute(TOKENS).fetchall()
        ages = connection.execute(ages_sql).fetchone() or (None, None, None)
        spent = connection.execute(LAST_DAY).fetchone() or (0, 0)
    found = {str(status): float(count) for status, count in counts}
    return Known(
        dict.fromkeys(STATUSES, 0.0) | found,
        *(float(age or 0.0) for age in ages),
        *(float(number) for number in spent),
    )
