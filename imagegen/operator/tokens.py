"""The tokens as an operator sees them."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from imagegen.database import Connection, Tables, statement_timeout

# A token that Replicate refused for a day has more generations than anybody reads.
GENERATIONS_SHOWN = 200


@dataclass(frozen=True)
class Token:
    """A row of `tokens_s0` with its author. Times are ISO 8601 in UTC, or infinity."""

    token_id: int
    author: str | None  # the wallet
    author_prompt: str | None
    status: str  # in lower case
    created_at: str | None
    age_seconds: float | None  # null where its mint is at no finite time
    generation_attempts: int
    generation_error: str | None
    generate_after: str | None
    image_url: str | None
    error_kind: str | None  # of its newest generation


@dataclass(frozen=True)
class Generation:
    """A row of `generations`. Times are ISO 8601 in UTC, or infinity."""

    id: int
    attempt: int
    state: str
    error_kind: str | None
    error_message: str | None
    prompt: str | None  # as sent
    fallback: bool
    model: str
    seed: int
    prediction_id: str | None
    opened_at: str
    requested_at: str | None
    closed_at: str | None
    duration_seconds: float  # from its claim to its end, or to now
    predict_seconds: float | None
    images: int | None
    image_url: str | None
    image_path: str | None
    image_sha256: str | None
    worker: str | None
    lease_until: str
    refusals: int
    refused_since: str | None


@dataclass(frozen=True)
class Story:
    """A token, where it is still there, and its newest generations in the order of time."""

    token: Token | None
    generations: list[Generation]
    generations_left_out: bool  # there are older ones


class UnknownStatusError(Exception):
    """No token can have this status; the message ends the sentence `--status must be …`."""


def list_tokens(
    connection: Connection,
    tables: Tables,
    *,
    statuses: Collection[str] = (),
    author: str | None = None,
    older: datetime | None = None,
    newer: datetime | None = None,
    error_kind: str | None = None,
    limit: int,
) -> list[Token]:
    """The newest tokens that are all of this, minted between `newer` and `older`.

    Raises UnknownStatusError.
    """
    wanted = ["true"]
    if statuses:
        wanted.append(_with_status(connection, tables, statuses))
    if author is not None:
        wanted.append(BY_AUTHOR)
    if older is not None:
        wanted.append("$minted_at <= %(older)s")
    if newer is not None:
        wanted.append("$minted_at >= %(newer)s")
    if error_kind is not None:
        wanted.append(ENDED_WITH_KIND)
    # The rest is looked up for those that are shown, not for a million that are sorted.
    rows = f"""(SELECT * FROM tokens_s0 t WHERE {" AND ".join(wanted)}
                {NEWEST_FIRST} LIMIT %(limit)s)"""
    values = {
        "statuses": list(statuses),
        "author": author,
        "older": older,
        "newer": newer,
        "error_kind": error_kind,
        "limit": limit,
    }
    sql = TOKENS + f" FROM {rows} t LEFT JOIN authors a ON a.id = t.author_id" + NEWEST_FIRST
    with statement_timeout(connection):
        cursor = connection.cursor(row_factory=class_row(Token))
        return cursor.execute(tables.fill(sql), values).fetchall()


def _with_status(connection: Connection, tables: Tables, statuses: Collection[str]) -> str:
    """SQL for one of these statuses. Those of imagegen's are literals, which have an index; others
    are the user's own."""
    if tables.labels.keys() >= set(statuses):
        return f"t.status IN ({', '.join(tables.labels[name] for name in statuses)})"
    with statement_timeout(connection):
        there = {status for (status,) in connection.execute(STATUSES_THERE)} | tables.labels.keys()
    if unknown := sorted(set(statuses) - there):
        raise UnknownStatusError(f"one of {', '.join(sorted(there))}, not {unknown[0]!r}")
    return "lower(t.status::text) = ANY(%(statuses)s)"


def read_story(connection: Connection, tables: Tables, token_id: int) -> Story:
    """All that is known of a token. The ledger outlives a token that was deleted."""
    one = " FROM tokens_s0 t LEFT JOIN authors a ON a.id = t.author_id WHERE t.token_id = %s"
    with statement_timeout(connection):
        tokens = connection.cursor(row_factory=class_row(Token))
        token = tokens.execute(tables.fill(TOKENS + one), [token_id]).fetchone()
        generations = connection.cursor(row_factory=class_row(Generation))
        newest = generations.execute(GENERATIONS, [token_id, GENERATIONS_SHOWN + 1]).fetchall()
    shown = newest[:GENERATIONS_SHOWN]
    return Story(token, shown[::-1], len(newest) > len(shown))


def _iso(time: str) -> str:
    """SQL for a time as ISO 8601 text: an operator's 'infinity' has no datetime in Python."""
    return f"to_json({time}) #>> '{{}}'"


def age_seconds(time: str) -> str:
    """SQL for how long ago a time was: 0 where it is ahead of the clock, null where it is none or
    infinite."""
    return f"""CASE WHEN isfinite({time})
        THEN greatest(extract(epoch FROM now() - {time}), 0)::float END"""


# How a token's newest generation ended. LIMIT 1 would invite a walk through the primary key.
NEWEST_KIND = """(
        SELECT (array_agg(g.error_kind ORDER BY g.id DESC))[1]
        FROM generations g WHERE g.token_id = t.token_id)"""

TOKENS = f"""
    SELECT t.token_id, a.wallet_address::text AS author, a.prompt_text::text AS author_prompt,
        lower(t.status::text) AS status, {_iso("$minted_at")} AS created_at,
        {age_seconds("$minted_at")} AS age_seconds,
        t.generation_attempts, t.generation_error, {_iso("t.generate_after")} AS generate_after,
        t.image_url, {NEWEST_KIND} AS error_kind"""
NEWEST_FIRST = " ORDER BY t.created_at DESC NULLS LAST, t.token_id DESC"

# Those of an enum are there without a token too.
STATUSES_THERE = """
    SELECT lower(t.status::text) FROM tokens_s0 t WHERE t.status IS NOT NULL
    UNION SELECT lower(enumlabel) FROM pg_enum JOIN pg_attribute ON atttypid = enumtypid
    WHERE attrelid = to_regclass('tokens_s0') AND attname = 'status'"""

# Wallets are written in either case.
BY_AUTHOR = """t.author_id IN (
    SELECT id FROM authors WHERE lower(wallet_address) = lower(%(author)s))"""

# As two joins, which a million tokens take faster than a look for each.
ENDED_WITH_KIND = """EXISTS (
    SELECT FROM generations g
    WHERE g.token_id = t.token_id AND g.error_kind = %(error_kind)s AND NOT EXISTS (
        SELECT FROM generations later WHERE later.token_id = g.token_id AND later.id > g.id))"""

GENERATIONS = f"""
    SELECT id, attempt, state, error_kind, error_message, prompt, fallback, model, seed,
        prediction_id, {_iso("opened_at")} AS opened_at, {_iso("requested_at")} AS requested_at,
        {_iso("closed_at")} AS closed_at,
        extract(epoch FROM coalesce(closed_at, now()) - opened_at)::float AS duration_seconds,
        predict_seconds, images, image_url, image_path, image_sha256, worker,
        {_iso("lease_until")} AS lease_until, refusals, {_iso("refused_since")} AS refused_since
    FROM generations WHERE token_id = %s ORDER BY id DESC LIMIT %s"""
