"""Checks of the database, from the connection to the statements of the queue."""

import time
from collections import defaultdict
from typing import Any

import psycopg

from imagegen import database
from imagegen.config import Settings
from imagegen.database import Connection, is_pooled, preflight, queue_stats, statement_timeout
from imagegen.doctor.report import NTP, Finding, Findings, Level, ok, warning, wrong
from imagegen.operator import acts
from imagegen.queue import statements
from imagegen.replicate import facts
from imagegen.text import one_line, plural

# A look for odd rows may read some tables as a whole.
ODD_SECONDS = 10
OLDEST_VERSION = 13  # the first with gen_random_uuid()
# Ordinary hosts differ by milliseconds.
SKEW_SECONDS = 2.0
# The other half of the slack is for the difference from Replicate's clock.
SKEW_WRONG_SECONDS = facts.CLOCK_SLACK_SECONDS / 2
NAME_CA = "name its CA in DATABASE_URL (sslrootcert=…), or do with sslmode=require"
# The fix by a part of the message of a failed connection. The first part that is found counts.
FIXES = {
    "root certificate": NAME_CA,
    "certificate verify failed": NAME_CA,
    "does not match host name": "put the host of its certificate into DATABASE_URL",
    "does not support SSL": "set ssl = on in postgresql.conf, or sslmode=prefer in DATABASE_URL",
    "invalid response": "put the host and port of a PostgreSQL into DATABASE_URL",
    "sslmode": "take another sslmode in DATABASE_URL: disable, prefer, require or verify-full",
    "password authentication failed": "put the right user and password into DATABASE_URL",
    "does not exist": "create it (createdb, createuser), or name another one in DATABASE_URL",
    "pg_hba.conf": "let this host in: the server's pg_hba.conf; hostssl wants sslmode=require",
    "resolve": "put the right host into DATABASE_URL, or repair this host's name server",
    "refused": "start PostgreSQL, or put the right host and port into DATABASE_URL",
    "timeout": "let this host reach PostgreSQL (firewall, route), or correct DATABASE_URL",
    "too many": "raise max_connections in postgresql.conf, or lower IMAGEGEN_PROCS",
}


def check_database(settings: Settings) -> Findings:
    """Check the connection; with one, check the server and the tables."""
    began = time.monotonic()
    try:
        connection = database.connect(settings.database_url, "imagegen doctor")
    except psycopg.OperationalError as error:
        message = one_line(error)
        fix = next((fix for part, fix in FIXES.items() if part in message), "correct DATABASE_URL")
        yield wrong("database", message, fix)
        return
    answer_seconds = time.monotonic() - began
    with connection:
        try:
            yield from _server(connection, answer_seconds)
            yield from _clock(connection)
            yield from _pooler(connection)
            yield from _preflight(connection, settings)
        except psycopg.Error as error:
            yield wrong("database", one_line(error), "look into PostgreSQL's log, and try again")


def _server(connection: Connection, answer_seconds: float) -> Findings:
    major, minor = divmod(connection.info.server_version, 10_000)
    version, user = f"PostgreSQL {major}.{minor}", connection.info.user
    if major < OLDEST_VERSION:
        yield wrong("database", f"{version} is too old", f"upgrade it to {OLDEST_VERSION} or newer")
    else:
        yield ok("database", f"{version} answers {user} in {answer_seconds * 1000:.0f} ms")
    ((role, standby, read_only, zone),) = _ask(
        connection,
        """SELECT quote_ident(current_user), pg_is_in_recovery(),
               current_setting('transaction_read_only') = 'on', current_setting('TimeZone')""",
    )
    if standby:
        fix = "name the primary in DATABASE_URL, or all, with ?target_session_attrs=read-write"
        yield wrong("database", "it is a standby, which cannot be written to", fix)
    elif read_only:
        fix = f"ALTER ROLE {role} SET default_transaction_read_only = off; or ALTER DATABASE"
        yield wrong("database", f"it lets {role} only read: default_transaction_read_only", fix)
    if zone != "UTC":
        yield wrong(
            "database",
            f"the session's time zone is {zone} though UTC was asked for",
            "let what stands between (a pooler) pass the startup parameter TimeZone on",
        )


def _clock(connection: Connection) -> Findings:
    before = time.time()
    ((there,),) = _ask(connection, "SELECT extract(epoch FROM clock_timestamp())::float")
    after = time.time()
    ahead_seconds = there - (before + after) / 2
    skew_seconds, direction = abs(ahead_seconds), "ahead of" if ahead_seconds > 0 else "behind"
    message = f"PostgreSQL's clock is {skew_seconds:.1f} s {direction} this host's"
    if skew_seconds > SKEW_WRONG_SECONDS:
        yield wrong("clock", message, NTP)
    elif skew_seconds > SKEW_SECONDS + (after - before):
        yield warning("clock", message, NTP)
    else:
        yield ok("clock", message)


def _pooler(connection: Connection) -> Findings:
    with statement_timeout(connection):
        pooled = is_pooled(connection)
    if pooled:
        yield warning(
            "wake-up",
            "a connection pooler stands between: workers hear of a mint when they look for it",
            "name PostgreSQL itself in DATABASE_URL, or lower POLL_INTERVAL_SECONDS",
        )
    else:
        yield ok("wake-up", "PostgreSQL tells the workers of a mint at once (LISTEN)")


def _preflight(connection: Connection, settings: Settings) -> Findings:
    needed = settings.procs * database.WORKER_CONNECTIONS + database.EXPORTER_CONNECTIONS
    with statement_timeout(connection):
        problems = preflight.problems(
            connection,
            settings.configured_prompts,
            connections=needed,
            keeps_images=settings.keep_images is not None,
        )
    for problem in problems:
        level = Level.WRONG if problem.prevents_start else Level.WARNING
        yield Finding(level, problem.check, problem.message, problem.fix)
    if not any(problem.check == "connections" for problem in problems):
        yield ok("connections", f"PostgreSQL admits the {needed} that are needed")
    checks = {problem.check for problem in problems if problem.prevents_start}
    if "migrations" in checks:
        yield warning("tables", "not checked at another revision")
        return
    revision = database.newest_revision()
    yield ok("migrations", f"the database is at revision {revision}, as needed")
    if "permissions" not in checks:
        yield ok("permissions", "imagegen may do with the tables what it must")
    if "tables" not in checks:
        yield from _statements(connection, may_be_denied="permissions" in checks)
        if "permissions" not in checks:
            yield from _pause(connection)
            yield from _older_worker(connection)
            yield from _refused_closings(connection)
            yield from _odd_tokens(connection)


def _statements(connection: Connection, *, may_be_denied: bool) -> Findings:
    """Check that PostgreSQL can plan each statement of the queue. Nothing is changed.

    This finds missing columns, and columns without privileges unless `may_be_denied`: then missing
    privileges are reported already.
    """
    errors = set()
    for statement in statements(database.read_tables(connection)).values():
        try:
            _ask(connection, f"EXPLAIN {statement.text}", defaultdict(lambda: None))
        except psycopg.ProgrammingError as error:
            if not (may_be_denied and isinstance(error, psycopg.errors.InsufficientPrivilege)):
                errors.add(error.diag.message_primary or str(error))
    for message in sorted(errors)[:1]:  # the others are mostly of the same column
        yield wrong("tables", message, "run `imagegen db upgrade`, or undo what was changed")
    if not errors:
        yield ok("tables", "their columns and the labels of status are as imagegen needs them")


def _pause(connection: Connection) -> Findings:
    if pause := acts.read_pause(connection).pause:
        yield warning("pause", f"paused {pause}: nothing new is sent", "imagegen resume")


def _older_worker(connection: Connection) -> Findings:
    """Count the tokens that another program has at work."""
    query = """SELECT count(*) FROM tokens_s0 t WHERE t.status = $generating AND NOT EXISTS (
                   SELECT FROM generations g WHERE g.token_id = t.token_id AND g.state = 'open')"""
    ((orphans,),) = _ask(connection, database.read_tables(connection).fill(query))
    if orphans:
        are, they_are = ("is", "it is") if orphans == 1 else ("are", "they are")
        yield warning(
            "tokens",
            f"{plural(orphans, 'token')} {are} `generating` without a generation of imagegen's:"
            f" an older worker may be at work; {they_are} taken over after ten minutes",
            "stop it, or wait: imagegen pays as well for a token that takes it longer",
        )


def _refused_closings(connection: Connection) -> Findings:
    """Name the tokens whose image or failure is kept because the database refuses to write it."""
    query = """SELECT count(*), (array_agg(token_id ORDER BY token_id))[:10],
                   (array_agg(closing_error ORDER BY lease_until DESC))[1]
               FROM generations WHERE state = 'open' AND closing IS NOT NULL"""
    ((refused, token_ids, error),) = _ask(connection, query)
    if refused:
        more = " …" if refused > len(token_ids) else ""
        yield wrong(
            "tokens",
            f"tokens_s0 refuses what became of {plural(refused, 'token')}"
            f" ({', '.join(map(str, token_ids))}{more}): {error}",
            "change the column, constraint or trigger that the message names: what was refused is"
            " kept and tried again, at once with `imagegen tokens retry ID`",
        )


def _odd_tokens(connection: Connection) -> Findings:
    """Name the tokens that imagegen cannot work on because of odd values in their rows."""
    try:
        found = queue_stats.odd_tokens(connection, database.read_tables(connection), ODD_SECONDS)
    except psycopg.errors.QueryCanceled:
        yield warning("tokens", f"odd rows were not found within {ODD_SECONDS} s")
        return
    for odd in found:
        yield warning("tokens", str(odd), odd.fix)


def _ask(connection: Connection, sql: str, values: Any = None) -> list[tuple[Any, ...]]:
    with statement_timeout(connection):
        return psycopg.ClientCursor(connection).execute(sql, values).fetchall()
