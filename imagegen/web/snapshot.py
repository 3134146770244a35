"""What the page shows of the database, as plain values: one statement for each page."""

from dataclasses import dataclass
from typing import Any

from imagegen.database import Connection, Tables
from imagegen.web.database_thread import IS_UNFETCHED, OLDEST_UNFETCHED, read_row

# Nobody waits for a page much longer; the statement is not left running behind it. Less than the
# patience with the whole database, so that a slow statement is not taken for one that is away.
STATEMENT_TIMEOUT_MILLISECONDS = 1500
BUCKETS = 36
BUCKET_SECONDS = 600
PICTURES = 24
FAILURES = 20
# A token that failed is looked for among so many, the newest mints: its failure has no index.
FAILURES_LOOKED_AT = 200
# How many of those that wait are asked whether they wait on purpose.
WAITING_LOOKED_AT = 1000
# As many tokens are counted in 15 ms. What is more is PostgreSQL's estimate, where it has one.
COUNTED_UP_TO = 100_000
# As many of the newest images are asked whether they have been fetched.
UNFETCHED_UP_TO = 1000
# The times of ten minutes are those of so many images, the last ones.
TIMES_LOOKED_AT = 1000
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
    found = _row(connection, snapshot_sql(tables))
    assert found is not None  # noqa: S101 (a SELECT without FROM has a row)
    times = {row.pop("start"): row for row in found.pop("times")}
    buckets = [Bucket(**row, **times.get(row["start"], {})) for row in found.pop("ended")]
    return Snapshot(
        total=Bucket(
            buckets[0].start,
            sum(bucket.images for bucket in buckets),
            sum(bucket.failed for bucket in buckets),
            **times.get(None, {}),
        ),
        buckets=buckets,
        pictures=[Picture(**row) for row in found.pop("pictures")],
        failures=[Failure(**row) for row in found.pop("failures")],
        **found,
    )


def read_details(connection: Connection, generation_id: int) -> Details | None:
    """A picture with all that is known of it; None where there is none."""
    found = _row(connection, f"{DETAILS} AND id = {int(generation_id)}")
    return Details(Picture(**found.pop("picture")), **found) if found else None


def read_path(connection: Connection, generation_id: int) -> str | None:
    """Where the copy of an image was put; None where there is none."""
    found = _row(connection, f"SELECT image_path FROM generations WHERE id = {int(generation_id)}")
    return found["image_path"] if found else None


def snapshot_sql(tables: Tables) -> str:
    return tables.fill(SNAPSHOT, **WORDS)


def _row(connection: Connection, sql: str) -> dict[str, Any] | None:
    return read_row(connection, sql, STATEMENT_TIMEOUT_MILLISECONDS)


def _counted(rows: str, relation: str) -> str:
    """SQL for the number of these rows. `relation`, a table or an index, has just these."""
    return f"""(
        SELECT CASE WHEN counted <= $counted_up_to THEN counted
            WHEN estimated > counted THEN estimated
            ELSE (SELECT count(*) FROM {rows}) END
        FROM (SELECT count(*) AS counted FROM (
                SELECT FROM {rows} LIMIT $counted_up_to + 1) few) few,
            coalesce((SELECT reltuples::bigint FROM pg_class
                WHERE oid = to_regclass('{relation}')), 0) AS estimated)"""


WORDS = {
    "buckets": BUCKETS,
    "bucket_seconds": BUCKET_SECONDS,
    "pictures": PICTURES,
    "failures": FAILURES,
    "failures_looked_at": FAILURES_LOOKED_AT,
    "counted_up_to": COUNTED_UP_TO,
    "unfetched_up_to": UNFETCHED_UP_TO,
    "times_looked_at": TIMES_LOOKED_AT,
    "waiting_looked_at": WAITING_LOOKED_AT,
    "prompt_characters": PROMPT_CHARACTERS + 1,
    "message_characters": MESSAGE_CHARACTERS + 1,
}

# Whatever there is a million of, a hundredth of it is looked at: each status that ends here has an
# index of its own, and so have the ends of generations.
SNAPSHOT = f"""
WITH ten_minutes AS (
    SELECT start, to_timestamp(start) AS since, to_timestamp(start + $bucket_seconds) AS until
    FROM (SELECT $bucket_seconds * (
            floor(extract(epoch FROM now()) / $bucket_seconds)::bigint - ago) AS start
        FROM generate_series(0, $buckets - 1) ago) starts)
SELECT extract(epoch FROM now())::float AS now,
    {_counted("tokens_s0 t", "tokens_s0")} AS tokens,
    {_counted("tokens_s0 t WHERE t.status = $detected", "imagegen_tokens_detected")} AS waiting,
    (SELECT count(*) FROM tokens_s0 t WHERE t.status = $generating) AS generating,
    {_counted("tokens_s0 t WHERE t.status = $failed", "imagegen_tokens_failed")} AS failed,
    (SELECT extract(epoch FROM now() - $minted_at)::float FROM tokens_s0 t
     WHERE t.status = $detected AND isfinite(t.created_at)
     ORDER BY t.created_at LIMIT 1) AS oldest_waiting_seconds,
    (SELECT count(*) FROM (
        SELECT generate_after FROM tokens_s0 t WHERE t.status = $detected
        ORDER BY t.created_at LIMIT $waiting_looked_at) waiting
     WHERE generate_after > now()) AS paused,
    (SELECT count(*) FROM (
        SELECT token_id, image_url FROM generations
        WHERE state = 'succeeded' AND closed_at > now() - interval '1 day'
        ORDER BY closed_at DESC LIMIT $unfetched_up_to + 1) image
     WHERE {IS_UNFETCHED}) AS unfetched,
    {OLDEST_UNFETCHED} AS oldest_unfetched_seconds,
    (SELECT coalesce(json_object_agg(worker, tokens), '{{}}') FROM (
        SELECT coalesce(worker, '') AS worker, count(*) AS tokens
        FROM generations WHERE state = 'open' GROUP BY 1) workers) AS held,
    (SELECT json_agg(ended ORDER BY start) FROM (
        SELECT start,
            (SELECT count(*) FROM generations WHERE state = 'succeeded'
                AND closed_at >= since AND closed_at < until) AS images,
            (SELECT count(*) FROM generations WHERE state = 'failed'
                AND closed_at >= since AND closed_at < until) AS failed
        FROM ten_minutes) ended) AS ended,
    (SELECT json_agg(times) FROM (
        SELECT start, percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS p50_seconds,
            percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) AS p95_seconds
        FROM ten_minutes, LATERAL (
            SELECT extract(epoch FROM closed_at - opened_at)::float AS seconds FROM generations
            WHERE state = 'succeeded' AND closed_at >= since AND closed_at < until
            ORDER BY closed_at DESC LIMIT $times_looked_at) made
        GROUP BY GROUPING SETS ((start), ())) times) AS times,
    (SELECT coalesce(json_agg(latest), '[]') FROM (
        SELECT id AS generation_id, token_id, coalesce(left(prompt, $prompt_characters), '')
            AS prompt, fallback, image_url AS url, image_path AS path,
            extract(epoch FROM closed_at) AS closed_at,
            extract(epoch FROM now() - closed_at) AS age_seconds
        FROM generations WHERE state = 'succeeded'
        ORDER BY generations.closed_at DESC, id DESC LIMIT $pictures) latest) AS pictures,
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
            -- By the id itself, the planner would walk the primary key where it has no statistics.
            SELECT prompt, error_kind, state, closed_at FROM generations g
            WHERE g.token_id = t.token_id ORDER BY g.id + 0 DESC LIMIT 1) g ON true
        LEFT JOIN authors a ON a.id = t.author_id
        ORDER BY age_seconds LIMIT $failures) latest) AS failures"""

# In the order of the wall.
DETAILS = """
SELECT json_build_object(
        'generation_id', id, 'token_id', token_id, 'prompt', coalesce(prompt, ''),
        'fallback', fallback, 'url', image_url, 'path', image_path,
        'closed_at', extract(epoch FROM closed_at),
        'age_seconds', extract(epoch FROM now() - closed_at)) AS picture,
    attempt, model, seed, prediction_id,
    extract(epoch FROM closed_at - opened_at)::float AS seconds,
    (SELECT other.id FROM generations other
     WHERE other.state = 'succeeded' AND (other.closed_at, other.id) > (image.closed_at, image.id)
     ORDER BY other.closed_at, other.id LIMIT 1) AS newer,
    (SELECT other.id FROM generations other
     WHERE other.state = 'succeeded' AND (other.closed_at, other.id) < (image.closed_at, image.id)
     ORDER BY other.closed_at DESC, other.id DESC LIMIT 1) AS older
FROM generations image WHERE state = 'succeeded'"""
