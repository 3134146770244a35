"""Compares Replicate's list of predictions with the ledger, page by page.

A prediction whose id the ledger does not have is matched by the seed in its input. Replicate
deletes the input after an hour. From then on only its model and its time can be compared.
"""

import hashlib
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from imagegen.audit.result import Audit, of_prediction, of_row
from imagegen.audit.verdicts import (
    UNEXPLAINED,
    LedgerRow,
    Ours,
    Related,
    Verdict,
    billed_images,
    judge,
    learn,
    needs_nearby,
)
from imagegen.database import Connection, sql, statement_timeout
from imagegen.failures import longest_settle_seconds
from imagegen.replicate import Page, Prediction, ReplicateClient, Since, boottime, facts

SQL = sql.load("imagegen.audit", "audit.sql")
# A request and its prediction are less than this apart, whatever the delay and the clocks.
SEED_PERIOD = timedelta(hours=1)
# The same as SURELY in worker/reconciliation.py, for a search without a seed.
NEARBY_SECONDS = 600.0
# Of 100 predictions each: twice as many as the account's limit of 600 creates a minute can fill.
PAGES_A_MINUTE = 12
LEAST_PAGES = 500
NO_ACCOUNT = "Replicate does not say whose account the API token is of"


def youngest_seconds(settle_seconds: float) -> float:
    """Return the least age in seconds of an audited prediction: younger ones may not be listed."""
    return longest_settle_seconds(settle_seconds)


def run(
    connection: Connection,
    client: ReplicateClient,
    since: datetime,
    *,
    model: str,
    has_marker: bool,
    settle_seconds: float,
    on_page: Callable[[int, datetime | None], object],
) -> Audit:
    """Compare Replicate's list from `since` on with the ledger, and return what was found.

    The result is recorded in the database, unless the list was not read to its end: then it says
    why in `missing`. After each page `on_page` gets the number of predictions so far, and the time
    down to which the list was compared.

    Raises psycopg.Error.
    """
    with statement_timeout(connection):
        [(now,)] = connection.execute(SQL["now"]).fetchall()
    until = now - timedelta(seconds=youngest_seconds(settle_seconds))
    since = min(since, until)
    account = client.account()
    audit = Audit(since, until, account)
    if account is None:
        audit.missing = NO_ACCOUNT
        return audit
    ours = Ours(account, frozenset({facts.model_name(model)}), has_marker)
    age_seconds = (now - since).total_seconds()
    pages = client.pages(
        Since(since, age_seconds, boottime(), facts.CLOCK_SLACK_SECONDS),
        most=max(LEAST_PAGES, round(age_seconds / 60 * PAGES_A_MINUTE)),
    )
    sweep = _Sweep(connection, audit, ours)
    listed = 0
    for page in pages:
        listed += len(page.predictions)
        sweep.page(page)
        on_page(listed, sweep.low)
    if pages.missing:
        audit.missing = str(pages.missing)
        return audit
    sweep.end()
    _record(connection, audit)
    return audit


class _Sweep:
    """Goes back in time through the list and the ledger together.

    It keeps only rows whose prediction was not listed yet, and predictions whose row was not read
    yet.
    """

    def __init__(self, connection: Connection, audit: Audit, ours: Ours) -> None:
        self._connection = connection
        self._audit = audit
        self._ours = ours
        self.low = audit.until  # rows of the ledger from this time on have been read
        self._pending: dict[str, LedgerRow] = {}  # rows that were read, but are not listed yet
        self._seen_early: dict[str, datetime] = {}  # listed, but requested before `low`
        self._last_page: set[str] = set()

    def page(self, page: Page) -> None:
        """Judge the predictions of the next page."""
        news = [each for each in page.predictions if each.id not in self._last_page]
        self._last_page = {each.id for each in page.predictions if each.id}
        times = [each.created_at for each in news if each.created_at]
        with statement_timeout(self._connection):
            by_id = {
                str(row.prediction_id): row
                for row in self._rows("by_ids", ids=[each.id for each in news])
            }
            self._read_ledger(min(times, default=self.low), self._last_page)
            for row in by_id.values():
                self._note_seen(row)
            audited = [each for each in news if self._is_in_period(each)]
            related = self._related(audited, by_id)
        for prediction in audited:
            self._judge(prediction, related)

    def end(self) -> None:
        """Add a finding for each prediction that only the ledger has."""
        with statement_timeout(self._connection):
            self._read_ledger(self._audit.since, set())
        for row in self._pending.values():
            if row.account not in (None, self._ours.account):
                self._audit.of_other_accounts += 1
            else:
                self._audit.add(of_row(row))

    def _read_ledger(self, low: datetime, listed: set[str]) -> None:
        low = max(low, self._audit.since)
        if low >= self.low:
            return
        values = {"low": low, "high": self.low, "seen": [*listed, *self._seen_early]}
        self._pending |= {str(row.prediction_id): row for row in self._rows("unseen", **values)}
        self.low = low
        self._seen_early = {name: at for name, at in self._seen_early.items() if at < low}

    def _note_seen(self, row: LedgerRow) -> None:
        prediction_id = str(row.prediction_id)
        self._pending.pop(prediction_id, None)
        if row.requested_at and row.requested_at < self.low:
            self._seen_early[prediction_id] = row.requested_at

    def _is_in_period(self, prediction: Prediction) -> bool:
        made_at = prediction.created_at
        if made_at and made_at > self._audit.until:
            self._audit.too_recent += 1
        return made_at is None or self._audit.since <= made_at <= self._audit.until

    def _related(self, audited: list[Prediction], by_id: dict[str, LedgerRow]) -> Related:
        """Return the ledger's rows that these predictions may belong to."""
        explained = [(each, by_id[each.id]) for each in audited if each.id in by_id]
        self._ours = learn(self._ours, explained)
        others = [each for each in audited if each.id not in by_id]
        return Related(by_id, self._by_seed(others), self._nearby(others))

    def _by_seed(self, others: Iterable[Prediction]) -> dict[int, list[LedgerRow]]:
        carriers = [each for each in others if each.seed is not None and each.created_at]
        found: dict[int, list[LedgerRow]] = {}
        if carriers:
            times = [each.created_at for each in carriers if each.created_at]
            seeds = [each.seed for each in carriers]
            period = {"since": min(times) - SEED_PERIOD, "until": max(times) + SEED_PERIOD}
            for row in self._rows("by_seeds", seeds=seeds, **period):
                found.setdefault(row.seed or 0, []).append(row)
        return found

    def _nearby(self, others: Iterable[Prediction]) -> dict[str, LedgerRow]:
        unsure = [each for each in others if needs_nearby(each, self._ours)]
        if not unsure:
            return {}
        rows = self._ask(
            "nearby",
            ids=[each.id for each in unsure],
            made_at=[each.created_at for each in unsure],
            digests=[_digest(each.prompt) for each in unsure],
            apart_seconds=NEARBY_SECONDS,
        )
        return {row.pop("of_prediction"): LedgerRow(**row) for row in rows}

    def _judge(self, prediction: Prediction, related: Related) -> None:
        audit = self._audit
        verdict, row = judge(prediction, self._ours, related)
        billed, perhaps = billed_images(prediction)
        if verdict in UNEXPLAINED:
            audit.add(of_prediction(verdict, prediction, row))
            return
        audit.counts[verdict] += 1
        if verdict is Verdict.STRANGER:
            source = prediction.source or "unknown"
            audit.strangers[source, prediction.model or "unknown"] += 1
        elif verdict is Verdict.CANCELLED_DUPLICATE:
            audit.cancelled_images += billed
            audit.cancelled_images_perhaps += perhaps

    def _rows(self, statement: str, **values: Any) -> list[LedgerRow]:
        return [LedgerRow(**row) for row in self._ask(statement, **values)]

    def _ask(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        cursor = self._connection.cursor(row_factory=dict_row)
        return cursor.execute(SQL[statement], values).fetchall()


def _digest(prompt: str | None) -> str | None:
    if prompt is None:
        return None
    return hashlib.sha256(prompt.encode(errors="replace")).hexdigest()


def _record(connection: Connection, audit: Audit) -> None:
    values = {
        "since": audit.since,
        "until": audit.until,
        "account": audit.account,
        "counts": Jsonb({str(verdict): audit.counts[verdict] for verdict in Verdict}),
        "unexplained": audit.unexplained,
    }
    with statement_timeout(connection):
        connection.execute(SQL["record"], values)
