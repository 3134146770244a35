"""What the page shows of the database, as plain values: one statement for each page."""

from dataclasses import dataclass
from string import Template
from typing import Any

from psycopg.rows import dict_row

from imagegen.database import Connection, Tables

# Longer than this nobody waits for a page; the statement is not left running behind it.
STATEMENT_TIMEOUT_MILLISECONDS = 2000
BUCKETS = 36
BUCKET_SECONDS = 600
PICTURES = 24
FAILURES = 20
# A token that failed is looked for among so many, the newest mints: its failure has no index.
FAILURES_LOOKED_AT = 200
# How many of those that wait are asked whether they wait on purpose.
WAITING_LOOKED_AT = 1000
# As many tokens are counted in a few milliseconds.
ESTIMATED_FROM = 100_000
# One more than is shown, so that what was cut is seen to be.
PROMPT_CHARACTERS = 200
MESSAGE_CHARACTERS = 300


@dataclass(frozen=True)
class Bucket:
    """What ended within ten minutes. Seconds are from a claim to its image."""

    start: float  # Unix time
    images: int = 0
    failed: int = 0
    p50_seconds: float | None = None
    p95_seconds: float | None = None


@dataclass(frozen=True)
class Picture:
    """A generation that brought an image."""

    generation_id: int
    token_id: int
    prompt: str
    fallback: bool
    url: str
    path: str | None  # of the copy that was kept
    closed_at: float  # Unix time
    age_seconds: float


@dataclass(frozen=True)
class Details:
    """All that is told of one picture."""

    picture: Picture
    attempt: int
    model: str
    seed: int
    prediction_id: str | None
    seconds: float
    newer: int | None
    older: int | None


@dataclass(frozen=True)
class Failure:
    """A token that failed, and how its newest generation ended, where it has one."""

    token_id: int
    attempts: int
    prompt: str | None
    message: str | None
    kind: str | None
    refused: bool
    closed_at: float  # Unix time
    age_seconds: float


@dataclass(frozen=True)
class Snapshot:
    """Everything at one moment."""

    now: float  # Unix time, by the database's clock
    waiting: int
    oldest_waiting_seconds: float | None
    paused: int  # of those that wait: not before a later time
    generating: int
    failed: int
    tokens: int
    tokens_estimated: bool
    unfetched: int  # of the images of the last day: no next stage has taken the token on
    oldest_unfetched_seconds: float | None
    held: dict[str, int]  # tokens at work, by worker; nobody's by ""
    total: Bucket
    buckets: list[Bucket]  # in the order of time, without gaps
    pictures: list[Picture]
    failures: list[Failure]

    @property
    def done(self) -> int:
        """Tokens that have their image, whatever the next stages have done with them."""
        return max(self.tokens - self.waiting - self.generating - self.failed, 0)


def read_snapshot(connection: Connection, tables: Tables) -> Snapshot:
    found = _row(connection, Template(SNAPSHOT).substitute(WORDS, **_words(tables)))
    assert found is not None  # noqa: S101 (a SELECT without FROM has a row)
    ended = {row.pop("start"): row for row in found.pop("buckets")}
    last = found["now"] // BUCKET_SECONDS
    starts = [(last - ago) * BUCKET_SECONDS for ago in reversed(range(BUCKETS))]
    return Snapshot(
        total=Bucket(starts[0], **ended.pop(None, {})),
        buckets=[Bucket(start, **ended.get(start, {})) for start in starts],
        pictures=[Picture(**row) for row in found.pop("pictures")],
        failures=[Failure(**row) for row in found.pop("failures")],
        **found,
    )


def read_details(connection: Connection, generation_id: int) -> Details | None:
    """A picture with all that is known of it; None where there is none."""
    found = _row(connection, Template(DETAILS).substitute(WORDS, id=int(generation_id)))
    return Details(Picture(**found.pop("picture")), **found) if found else None


def read_path(connection: Connection, generation_id: int) -> str | None:
    """Where the copy of an image was put; None where there is none."""
    found = _row(connection, f"SELECT image_path FROM generations WHERE id = {int(generation_id)}")
    return found["image_path"] if found else None


def _words(tables: Tables) -> dict[str, str]:
    return tables.labels | {"minted_at": tables.minted_at}


def _row(connection: Connection, sql: str) -> dict[str, Any] | None:
    """The first row of a statement that may not take long."""
    cursor = connection.cursor(row_factory=dict_row)
    # Without parameters both travel together: one round trip, and one transaction without BEGIN.
    cursor.execute(f"SET LOCAL statement_timeout = {STATEMENT_TIMEOUT_MILLISECONDS}; {sql}")
    cursor.nextset()
    return cursor.fetchone()


WORDS = {
    "buckets": BUCKETS,
    "bucket_seconds": BUCKET_SECONDS,
    "pictures": PICTURES,
    "failures": FAILURES,
    "failures_looked_at": FAILURES_LOOKED_AT,
    "estimated_from": ESTIMATED_FROM,
    "waiting_looked_at": WAITING_LOOKED_AT,
    "prompt_characters": PROMPT_CHARACTERS + 1,
    "message_characters": MESSAGE_CHARACTERS + 1,
}

# Each status that ends here is counted in an index of its own; all tokens together are counted
# only where that is fast, and where PostgreSQL has no estimate.
SNAPSHOT = """
SELECT extract(epoch FROM now())::float AS now, estimate.is_used AS tokens_estimated,
    CASE WHEN estimate.is_used THEN estimate.tokens
        ELSE (SELECT count(*) FROM tokens_s0) END AS tokens,
    (SELECT count(*) FROM tokens_s0 t WHERE t.status = $detected) AS waiting,
    (SELECT count(*) FROM tokens_s0 t WHERE t.status = $generating) AS generating,
    (SELECT count(*) FROM tokens_s0 t WHERE t.status = $failed) AS failed,
    (SELECT extract(epoch FROM now() - $minted_at)::float FROM tokens_s0 t
     WHERE t.status = $detected AND isfinite(t.created_at)
     ORDER BY t.created_at LIMIT 1) AS oldest_waiting_seconds,
    (SELECT count(*) FROM (
        SELECT generate_after FROM tokens_s0 t WHERE t.status = $detected
        ORDER BY t.created_at LIMIT $waiting_looked_at) waiting
     WHERE generate_after > now()) AS paused,
    unfetched.tokens AS unfetched, unfetched.oldest_seconds AS oldest_unfetched_seconds,
    (SELECT coalesce(json_object_agg(worker, tokens), '{}') FROM (
        SELECT coalesce(worker, '') AS worker, count(*) AS tokens
        FROM generations WHERE state = 'open' GROUP BY 1) workers) AS held,
    (SELECT json_agg(ended) FROM (
        SELECT start, count(*) FILTER (WHERE state = 'succeeded') AS images,
            count(*) FILTER (WHERE state = 'failed') AS failed,
            percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS p50_seconds,
            percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) AS p95_seconds
        FROM (
            SELECT state,
                floor(extract(epoch FROM closed_at) / $bucket_seconds) * $bucket_seconds AS start,
                CASE state WHEN 'succeeded'
                    THEN extract(epoch FROM closed_at - opened_at)::float END AS seconds
            FROM generations
            WHERE closed_at >= to_timestamp($bucket_seconds * (
                floor(extract(epoch FROM now()) / $bucket_seconds) - $buckets + 1))) closed
        GROUP BY GROUPING SETS ((start), ())) ended) AS buckets,
    (SELECT coalesce(json_agg(latest), '[]') FROM (
        SELECT id AS generation_id, token_id, coalesce(left(prompt, $prompt_characters), '')
            AS prompt, fallback, image_url AS url, image_path AS path,
            extract(epoch FROM closed_at) AS closed_at,
            extract(epoch FROM now() - closed_at) AS age_seconds
        FROM generations WHERE state = 'succeeded'
        ORDER BY generations.closed_at DESC LIMIT $pictures) latest) AS pictures,
    (SELECT coalesce(json_agg(latest), '[]') FROM (
        SELECT t.token_id, t.generation_attempts AS attempts,
            left(coalesce(a.prompt_text::text, g.prompt), $prompt_characters) AS prompt,
            left(t.generation_error, $message_characters) AS message,
            g.error_kind AS kind, coalesce(g.state = 'refused', false) AS refused,
            extract(epoch FROM coalesce(g.closed_at, $minted_at)) AS closed_at,
            extract(epoch FROM now() - coalesce(g.closed_at, $minted_at)) AS age_seconds
        FROM (
            SELECT * FROM tokens_s0 t WHERE t.status = $failed
            ORDER BY t.created_at DESC LIMIT $failures_looked_at) t
        LEFT JOIN LATERAL (
            SELECT prompt, error_kind, state, closed_at FROM generations g
            WHERE g.token_id = t.token_id ORDER BY g.id DESC LIMIT 1) g ON true
        LEFT JOIN authors a ON a.id = t.author_id
        ORDER BY age_seconds LIMIT $failures) latest) AS failures
FROM (
    SELECT reltuples::bigint AS tokens, reltuples >= $estimated_from AS is_used
    FROM pg_class WHERE oid = 'tokens_s0'::regclass) estimate,
    (SELECT count(*) AS tokens,
        extract(epoch FROM now() - min(g.closed_at))::float AS oldest_seconds
     FROM generations g JOIN tokens_s0 t USING (token_id)
     WHERE g.closed_at > now() - interval '1 day' AND g.state = 'succeeded'
        AND t.status = $uploading) unfetched"""

DETAILS = """
SELECT json_build_object(
        'generation_id', id, 'token_id', token_id, 'prompt', coalesce(prompt, ''),
        'fallback', fallback, 'url', image_url, 'path', image_path,
        'closed_at', extract(epoch FROM closed_at),
        'age_seconds', extract(epoch FROM now() - closed_at)) AS picture,
    attempt, model, seed, prediction_id,
    extract(epoch FROM closed_at - opened_at)::float AS seconds,
    (SELECT min(id) FROM generations WHERE state = 'succeeded' AND id > $id) AS newer,
    (SELECT max(id) FROM generations WHERE state = 'succeeded' AND id < $id) AS older
FROM generations WHERE id = $id AND state = 'succeeded'"""
