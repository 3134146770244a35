"""The database: whether it is there, as imagegen needs it, and lets imagegen work."""

import time
from collections import defaultdict
from typing import Any

import psycopg

from imagegen import database
from imagegen.config import Settings
from imagegen.database import Connection, NotMigratedError, bounded, encoding, is_pooled, preflight
from imagegen.doctor.report import NTP, Findings, ok, warning, wrong
from imagegen.queue import statements

OLDEST_VERSION = 13  # the first that makes a uuid by itself
# Ordinary hosts differ by milliseconds.
SKEW_SECONDS = 2.0
# Half of what imagegen allows between PostgreSQL's clock and Replicate's when it looks for a
# prediction that may have been made, where Replicate's answers do not tell the time. Not derived
# from reconciling.CLOCK_SLACK_SECONDS: with that comes the provider, which cannot be imported where
# TLS's certificates are wrong, and the doctor is asked just then.
SKEW_WRONG_SECONDS = 60.0
NAME_CA = "name its CA in DATABASE_URL (sslrootcert=…), or do with sslmode=require"
# What the messages of a connection that failed have in them, and the mend; the first that fits.
MENDS = {
    "root certificate": NAME_CA,
    "certificate verify failed": NAME_CA,
    "does not match host name": "put the host of its certificate into DATABASE_URL",
    "does not support SSL": "set ssl = on in postgresql.conf, or sslmode=prefer in DATABASE_URL",
    "invalid response": "put the host and port of a PostgreSQL into DATABASE_URL",
    "sslmode": "take another sslmode in DATABASE_URL: disable, prefer, require or verify-full",
    "password authentication failed": "put the right user and password into DATABASE_URL",
    "does not exist": "create it (createdb, createuser), or name another one in DATABASE_URL",
    "pg_hba.conf": "let this host in: the server's pg_hba.conf; hostssl wants sslmode=require",
    "resolve": "put the right host into DATABASE_URL, or mend this host's name server",
    "refused": "start PostgreSQL, or put the right host and port into DATABASE_URL",
    "timeout": "let this host reach PostgreSQL (firewall, route), or correct DATABASE_URL",
    "too many": "raise max_connections in postgresql.conf, or lower IMAGEGEN_PROCS",
}


def check_database(settings: Settings) -> Findings:
    """From the connection up to the statements of the queue."""
    began = time.monotonic()
    try:
        connection = database.connect(settings.database_url, "imagegen doctor")
    except psycopg.OperationalError as error:
        said = " ".join(str(error).split())
        mend = next((MENDS[words] for words in MENDS if words in said), "correct DATABASE_URL")
        yield wrong("database", said, mend)
        return
    answer_seconds = time.monotonic() - began
    with connection:
        try:
            yield from _server(connection, answer_seconds)
            yield from _encoding(connection, settings)
            yield from _clock(connection)
            yield from _pooler(connection)
            yield from _schema(connection)
        except psycopg.Error as error:
            mend = "look into PostgreSQL's log, and try again"
            yield wrong("database", " ".join(str(error).split()), mend)


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
        mend = "name the primary in DATABASE_URL, or all, with ?target_session_attrs=read-write"
        yield wrong("database", "it is a standby, which cannot be written to", mend)
    elif read_only:
        mend = f"ALTER ROLE {role} SET default_transaction_read_only = off; or ALTER DATABASE"
        yield wrong("database", f"it lets {role} only read: default_transaction_read_only", mend)
    if zone != "UTC":
        yield wrong(
            "database",
            f"the session's time zone is {zone} though UTC was asked for",
            "let what stands between (a pooler) pass the startup parameter TimeZone on",
        )


def _encoding(connection: Connection, settings: Settings) -> Findings:
    if drawback := encoding.drawback(connection):
        yield warning("encoding", drawback, encoding.MEND)
    for variable, prompt in settings.configured_prompts.items():
        if encoding.lacks_characters_of(connection, prompt):
            said = f"the database lacks characters of {variable}, {prompt!r}"
            yield wrong("encoding", said, "write it without them")


def _clock(connection: Connection) -> Findings:
    before = time.time()
    ((there,),) = _ask(connection, "SELECT extract(epoch FROM clock_timestamp())::float")
    after = time.time()
    skew_seconds = there - (before + after) / 2
    differ = f"PostgreSQL's clock is {abs(skew_seconds):.1f} s "
    differ += "ahead of this host's" if skew_seconds > 0 else "behind this host's"
    if abs(skew_seconds) > SKEW_WRONG_SECONDS:
        yield wrong("clock", differ, NTP)
    elif abs(skew_seconds) > SKEW_SECONDS + (after - before):
        yield warning("clock", differ, NTP)
    else:
        yield ok("clock", differ)


def _pooler(connection: Connection) -> Findings:
    with bounded(connection):
        pooled = is_pooled(connection)
    if pooled:
        yield warning(
            "wake-up",
            "a connection pooler stands between: workers hear of a mint when they look for it",
            "name PostgreSQL itself in DATABASE_URL, or lower POLL_INTERVAL_SECONDS",
        )
    else:
        yield ok("wake-up", "PostgreSQL tells the workers of a mint at once (LISTEN)")


def _schema(connection: Connection) -> Findings:
    with bounded(connection):
        lacking = preflight.lacking(connection)
    for each in lacking:
        yield wrong("permissions", str(each), each.grant)
    try:
        revision = database.check_revision(connection)
    except NotMigratedError as error:
        said, _, mend = str(error).partition(": ")
        yield wrong("migrations", said, mend)
        yield warning("tables", "not checked at another revision")
        return
    yield ok("migrations", f"the database is at revision {revision}, as needed")
    if not lacking:
        yield ok("permissions", "imagegen may do with the tables what it must")
    yield from _tables(connection, told=bool(lacking))


def _tables(connection: Connection, *, told: bool) -> Findings:
    """Have PostgreSQL plan each statement of the queue: that finds a column that is not there, or
    that may not be touched (which may be `told`), and changes nothing."""
    try:
        tables = database.read_tables(connection)
    except NotMigratedError as error:
        mend = "ALTER TYPE … ADD VALUE '…', for each label that it lacks"
        yield wrong("tables", str(error), mend)
        return
    problems = set()
    for sql in statements(tables).values():
        try:
            _ask(connection, f"EXPLAIN {sql}", defaultdict(lambda: None))
        except psycopg.ProgrammingError as error:
            if not (told and isinstance(error, psycopg.errors.InsufficientPrivilege)):
                problems.add(error.diag.message_primary or str(error))
    for said in sorted(problems):
        yield wrong("tables", said, "undo what was changed since `imagegen db upgrade`")
    if not problems:
        yield ok("tables", "their columns and the labels of status are as imagegen needs them")


def _ask(connection: Connection, sql: str, values: Any = None) -> list[tuple[Any, ...]]:
    with bounded(connection):
        return psycopg.ClientCursor(connection).execute(sql, values).fetchall()
