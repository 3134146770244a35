"""Work on the tables that a worker's main loop does at intervals."""

import time
from collections.abc import Sequence

import psycopg

from imagegen.database import (
    AWAY,
    NotMigratedError,
    Pool,
    Tables,
    odd_tokens,
    queue_stats,
    read_tables,
)
from imagegen.logs import log
from imagegen.queue import Queue
from imagegen.worker.orphans import Orphans
from imagegen.worker.set_aside import SetAside

# Rarely, because no token is in a hurry whose status another program has changed.
REPAIR_SECONDS = 30.0
# How soon the first token of a new table is noticed.
READ_SECONDS = 5.0
# A look for odd tokens may read the whole table.
LOOK_SECONDS = 300.0
LOOK_TIMEOUT_SECONDS = 2


class Maintenance:
    """Repairs statuses, names odd tokens, and learns how the application writes a status."""

    def __init__(self, pool: Pool, queues: Sequence[Queue], set_aside: SetAside) -> None:
        """The first of the `queues` has read the tables."""
        self._pool = pool
        self._queues = queues
        self._set_aside = set_aside
        self._orphans = Orphans()
        self._read_at = self._repair_at = self._look_at = 0.0  # monotonic
        self._reported: set[tuple[str, str]] = set()

    def run_if_due(self) -> None:
        """Do each kind of work whose time has come. Raises psycopg.Error."""
        now, known = time.monotonic(), self._queues[0].session.tables
        if known and known.is_case_assumed and now >= self._read_at:
            self._read_at = now + READ_SECONDS
            self._read_tables()
        if now >= self._repair_at:
            self._queues[0].session.check()
            self._repair_statuses()
            self._repair_at = now + REPAIR_SECONDS
        tables = self._queues[0].session.tables
        if known and tables and known.is_case_assumed and known != tables:
            for queue in self._queues:
                queue.session.use(tables)
            log.info("tables.learned", extra={"detected": tables.labels["detected"]})
        if tables and now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._report_odd_tokens(tables)

    def _repair_statuses(self) -> None:
        repairs = self._set_aside.repair_statuses(self._orphans.abandoned())
        if repairs.repaired:
            log.warning("tokens.mended", extra={"tokens": repairs.repaired})
        self._orphans.update(repairs.orphans)

    def _read_tables(self) -> None:
        """Read how a status is written, as no row had one when the worker started."""
        try:
            with self._pool.connection() as connection:
                self._queues[0].session.use(read_tables(connection))
        except NotMigratedError as error:
            log.debug("tables.unreadable", extra={"error": str(error)})

    def _report_odd_tokens(self, tables: Tables) -> None:
        """Log each odd token once."""
        try:
            with self._pool.connection() as connection:
                found = queue_stats.odd_tokens(connection, tables, LOOK_TIMEOUT_SECONDS)
        except psycopg.errors.QueryCanceled:
            return  # the table is large; `doctor` has more time
        except AWAY:
            raise
        except psycopg.Error as error:
            log.debug("tables.unreadable", extra={"error": str(error)})
            return
        for odd in found:
            for token_id in odd.token_ids:
                # Those that a claim sets aside are logged there.
                if odd.kind != odd_tokens.SET_ASIDE and (odd.kind, token_id) not in self._reported:
                    self._reported.add((odd.kind, token_id))
                    fields = {"token_id": token_id, "reason": odd.reason, "mend": odd.fix}
                    log.warning("token.set_aside", extra=fields)
