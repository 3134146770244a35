"""What the page shows of the database, as plain values: one statement for each page."""

from dataclasses import dataclass
from importlib.resources import files
from string import Template
from typing import Any

from imagegen.database import Connection, Tables, acts, queue_stats, sql
from imagegen.web.database_thread import read_row

# Parsed together, because the page uses the fragments of the queue's figures.
SQL = sql.parse(
    queue_stats.TEXT + files("imagegen.web").joinpath("page.sql").read_text(encoding="utf-8")
)
# Less than app.DATABASE_TIMEOUT_SECONDS: a slow statement must not look like a lost database.
STATEMENT_TIMEOUT_MILLISECONDS = 1500
BUCKETS = 36
BUCKET_SECONDS = 600
PICTURES = 24
FAILURES = 20
# If more tokens have failed, only the newest mints of them are grouped by kind.
FAILURES_GROUPED = 1000
# If there are more tokens, PostgreSQL's estimate is shown, if it has one.
COUNTED_UP_TO = queue_stats.COUNTED_UP_TO
# How many of the newest images are checked for whether they were fetched.
UNFETCHED_UP_TO = 1000
PROMPT_CHARACTERS = 200
MESSAGE_CHARACTERS = 300
VALUES = {
    "buckets": BUCKETS,
    "bucket_seconds": BUCKET_SECONDS,
    "pictures": PICTURES,
    "failures": FAILURES,
    "failures_grouped": FAILURES_GROUPED,
    "counted_up_to": COUNTED_UP_TO,
    "unfetched_up_to": UNFETCHED_UP_TO,
    # One more than is shown, so that the page sees that a text was longer.
    "prompt_characters": PROMPT_CHARACTERS + 1,
    "message_characters": MESSAGE_CHARACTERS + 1,
}


@dataclass(frozen=True)
class Bucket:
    """The generations that ended within ten minutes. Times are from a claim to its image."""

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
    handed_on_url: str | None  # if it is not `url`
    closed_at: float  # Unix time
    age_seconds: float


@dataclass(frozen=True)
class Details:
    """A picture with all that its page shows."""

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
    """A token that failed, and how its newest generation ended, if it has one."""

    token_id: int | None
    attempts: int
    prompt: str | None
    message: str | None
    kind: str | None
    refused: bool
    closed_at: float | None  # Unix time; None if it is not known
    age_seconds: float | None


@dataclass(frozen=True)
class FailureKind:
    """How many failed tokens have this kind of failure."""

    kind: str | None  # given_up if Replicate refused them; None: not recorded
    tokens: int


@dataclass(frozen=True)
class Snapshot:
    """All that the status page shows of the database, at one moment."""

    now: float  # Unix time, by the database's clock
    waiting: int
    oldest_waiting_seconds: float | None
    paused: int  # of the waiting: they may not be tried before a later time
    held: int  # of the waiting: an operator holds them back
    pause: acts.Pause | None
    generating: int
    failed: int
    tokens: int
    unfetched: int  # images of the last day whose token no next stage has taken on
    oldest_unfetched_seconds: float | None
    closings_refused: int  # tokens whose end the database refuses to write
    tokens_by_worker: dict[str, int]  # tokens at work; "" is for those without a worker
    total: Bucket
    buckets: list[Bucket]  # in the order of time, without gaps
    pictures: list[Picture]
    failures: list[Failure]
    failure_kinds: list[FailureKind]  # the most frequent first

    @property
    def done(self) -> int:
        """Tokens that have their image, whatever the next stages have done with them."""
        return max(self.tokens - self.waiting - self.generating - self.failed, 0)


def read_snapshot(connection: Connection, tables: Tables) -> Snapshot:
    """Return what the status page shows. Raises one of database.AWAY."""
    row = read_row(connection, snapshot_sql(tables), STATEMENT_TIMEOUT_MILLISECONDS)
    assert row is not None  # noqa: S101 (a SELECT without FROM has a row)
    times = {of_bucket.pop("start"): of_bucket for of_bucket in row.pop("times")}
    buckets = [Bucket(**ended, **times.get(ended["start"], {})) for ended in row.pop("ended")]
    return Snapshot(
        total=Bucket(
            buckets[0].start,
            sum(bucket.images for bucket in buckets),
            sum(bucket.failed for bucket in buckets),
            **times.get(None, {}),
        ),
        buckets=buckets,
        pictures=[Picture(**picture) for picture in row.pop("pictures")],
        failures=[Failure(**failure) for failure in row.pop("failures")],
        failure_kinds=[FailureKind(**kind) for kind in row.pop("failure_kinds")],
        pause=acts.Pause(**pause) if (pause := row.pop("pause")) else None,
        **row,
    )


def read_details(connection: Connection, generation_id: int) -> Details | None:
    """Return what the page of a picture shows; None if there is no such picture."""
    row = _read_of("details", connection, generation_id)
    return Details(Picture(**row.pop("picture")), **row) if row else None


def read_path(connection: Connection, generation_id: int) -> str | None:
    """Return the path of the kept copy of an image; None if there is none."""
    row = _read_of("path", connection, generation_id)
    return row["image_path"] if row else None


def snapshot_sql(tables: Tables) -> str:
    return tables.fill(SQL["snapshot"], **VALUES)


def _read_of(name: str, connection: Connection, generation_id: int) -> dict[str, Any] | None:
    statement = Template(SQL[name]).substitute(generation_id=int(generation_id))
    return read_row(connection, statement, STATEMENT_TIMEOUT_MILLISECONDS)
