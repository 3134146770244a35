"""Rows of tokens and generations that have ended, for tests of what operators read and repair."""

from datetime import datetime

from psycopg import sql

from tests.support.processes import Site

MODEL = "black-forest-labs/flux-schnell"
HOSTILE = "\x1b]0;owned\x07\x1b[31mthe prediction\r\nfailed \u202eleftwards, for a reason"


def insert_generation(site: Site, token_id: int = 1, **columns: object) -> None:
    """A generation that succeeded a moment ago, but for the columns that are named."""
    row: dict[str, object] = {
        "token_id": token_id, "attempt": 1, "model": MODEL, "seed": 1, "lease_until": "now",
        "state": "succeeded", "opened_at": "now", "requested_at": "now", "closed_at": "now",
    }  # fmt: skip
    row |= columns
    row.setdefault("prediction_id", f"p{site.query('SELECT count(*) FROM generations')[0][0]}")
    if row["state"] == "succeeded":
        row.setdefault("image_url", "https://replicate.delivery/out-0.webp")
    if row["state"] == "open":
        row["closed_at"] = None
    statement = sql.SQL("INSERT INTO generations ({}) VALUES ({})").format(
        sql.SQL(", ").join(map(sql.Identifier, row)),
        sql.SQL(", ").join([sql.Placeholder()] * len(row)),
    )
    site.query(statement.as_string(), *row.values())


def insert_failed_generation(
    site: Site, token_id: int, kind: str, at: str | datetime = "now"
) -> None:
    """A prediction that failed at that time."""
    insert_generation(
        site, token_id, state="failed", error_kind=kind, error_message=f"it was {kind}",
        opened_at=at, requested_at=at, closed_at=at,
    )  # fmt: skip


def insert_tokens(
    site: Site, status: str, *token_ids: int, hours_ago: int = 0, **columns: object
) -> None:
    """Tokens as they are when they have this status."""
    columns = {
        "failed": {"generation_attempts": 3, "generation_error": "it failed"},
        "uploading": {"generation_attempts": 1, "image_url": "https://replicate.delivery/1.webp"},
    }.get(status, {}) | columns
    for token_id in token_ids:
        site.mint("a prompt", first_token_id=token_id)
        for column, value in (columns | {"status": status}).items():
            site.query(f"UPDATE tokens_s0 SET {column} = %s WHERE token_id = %s", value, token_id)
        site.query(
            """UPDATE tokens_s0 SET created_at = now() - make_interval(hours => %s)
               WHERE token_id = %s""", hours_ago, token_id
        )  # fmt: skip
