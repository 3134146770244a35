"""The metrics that only the database knows, which is asked at each scrape."""

import time
from collections.abc import Iterator

import psycopg
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from imagegen.config import Settings
from imagegen.database import Connection, Tables, queue_stats
from imagegen.logs import log
from imagegen.redaction import Redactor
from imagegen.text import one_line
from imagegen.web.database_thread import NO_ANSWER, DatabaseThread, read_row

# Prometheus waits 10 s for a scrape by default, and the other metrics need some of it.
DATABASE_TIMEOUT_SECONDS = 5.0
# Less than database_thread.ANSWER_SECONDS. Probes wait until the statement has ended.
STATEMENT_TIMEOUT_MILLISECONDS = 1500
# A statement that reads no row waits for nothing but a lock.
CHECK_TIMEOUT_MILLISECONDS = 1000

HELP = {
    "oldest_waiting_seconds": "Since the mint of the oldest waiting token.",
    "oldest_generating_seconds": "Since the claim of the token that has been at work longest.",
    "oldest_unfetched_seconds": "Age of the oldest image that nobody has taken on.",
    "oldest_expiring_seconds": "The same, of the images of which there is no copy, until they are"
    " deleted.",
    "images_lost": "Images of the last day that were deleted before anybody took them on; there is"
    " no copy.",
    "tokens_unsent": "Tokens at work whose request has not been sent, or has had no answer for ten"
    " minutes.",
    "closings_refused": "Images and failures that the database refuses to write to their tokens.",
    "predictions_last_day": "Predictions that Replicate accepted in the last 24 hours, over all"
    " hosts.",
    "images_last_day": "Images made in the last 24 hours, over all hosts.",
    "audit_unexplained": "Predictions and generations that the last audit found unexplained.",
    "audit_age_seconds": "Since the last audit.",
    "paused": "1 while an operator has paused imagegen, on all hosts.",
    "tokens_held": "Tokens that operators hold back; imagegen_tokens counts them too.",
    "daily_limit": "Predictions allowed in any 24 hours.",
    "dollars_last_day": "What the predictions of the last 24 hours that have ended cost, over all"
    " hosts.",
    "daily_budget": "Dollars allowed in any 24 hours.",
    "price": "What an image costs, as it was set.",
}


class StatsCollector(Collector):
    """Collects the queue's figures and the settings that alerts compare them with."""

    def __init__(self, database: DatabaseThread, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._redact = Redactor(settings.secrets)
        self._are_missing = False

    def collect(self) -> Iterator[Metric]:
        """Yield whether the database answered, and the figures if it did.

        The other metrics are served without them.
        """
        began = time.monotonic()
        stats, is_up = None, True
        try:
            stats = self._database.ask(read_stats, DATABASE_TIMEOUT_SECONDS)
            self._report(None)
        except NO_ANSWER as error:
            is_up = isinstance(error, psycopg.errors.QueryCanceled)
            self._report(error)
        yield GaugeMetricFamily(
            "imagegen_database_up", "1 if the database answered this scrape, 0 if not.", int(is_up)
        )
        yield GaugeMetricFamily(
            "imagegen_database_scrape_seconds",
            "How long this scrape has waited for the figures of the database.",
            time.monotonic() - began,
        )
        if stats is not None:
            yield from self._figures(stats)

    def _figures(self, stats: queue_stats.QueueStats) -> Iterator[Metric]:
        tokens = GaugeMetricFamily(
            "imagegen_tokens",
            "Tokens, by status; of more than 100,000, PostgreSQL's estimate.",
            labels=["status"],
        )
        for status, count in stats.tokens.items():
            tokens.add_metric([status], count)
        yield tokens
        set_aside = GaugeMetricFamily(
            "imagegen_tokens_set_aside",
            "Tokens that are left alone because of what is in their rows, by kind.",
            labels=["kind"],
        )
        for kind, count in stats.tokens_set_aside.items():
            set_aside.add_metric([kind], count)
        yield set_aside
        price = self._settings.price
        values = {name: figure or 0 for name, figure in vars(stats).items()} | {
            "paused": int(stats.pause is not None),
            "daily_limit": stats.limits.daily(self._settings.daily_limit),
            "daily_budget": stats.limits.budget(self._settings.daily_budget),
            "price": price and price.of_an_image(self._settings.model),
        }
        if price is None:
            values["dollars_last_day"] = None
        if stats.audit_age_seconds is None:
            values |= {"audit_unexplained": None, "audit_age_seconds": None}
        for name, help_text in HELP.items():
            if values[name] is not None:
                yield GaugeMetricFamily(f"imagegen_{name}", help_text, values[name])

    def _report(self, error: Exception | None) -> None:
        """Log once that the figures are missing, and once that they are there again."""
        if error and not self._are_missing:
            why = self._redact(one_line(error) or type(error).__name__)
            log.error("metrics.figures.missing", extra={"error": why})
        elif self._are_missing and not error:
            log.info("metrics.figures.back")
        self._are_missing = error is not None


def read_stats(connection: Connection, tables: Tables) -> queue_stats.QueueStats:
    """Return the queue's figures. Raises one of database.AWAY."""
    sql = queue_stats.quick_statement(tables)
    row = read_row(connection, sql, STATEMENT_TIMEOUT_MILLISECONDS)
    assert row is not None  # noqa: S101 (an aggregate has a row)
    return queue_stats.from_row(row)


def any_token_waits(connection: Connection, tables: Tables) -> bool:
    """Return whether a token waits to be sent to Replicate.

    Raises one of NO_ANSWER, also if a table is missing.
    """
    sql = tables.fill(queue_stats.SQL["any_waits"])
    row = read_row(connection, sql, CHECK_TIMEOUT_MILLISECONDS)
    return bool(row and row["waits"])


def check_tables(connection: Connection, tables: Tables) -> None:
    """Raise one of NO_ANSWER unless the database answers and its tables are there."""
    sql = (
        "SELECT FROM tokens_s0, authors, generations, imagegen_servers, imagegen_duplicates,"
        " imagegen_audits, imagegen_acts LIMIT 0"
    )
    read_row(connection, sql, CHECK_TIMEOUT_MILLISECONDS)
