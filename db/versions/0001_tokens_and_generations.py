"""The user's tables if they are missing, the columns that imagegen adds, and `generations`.

Tables that exist are adopted. What this migration makes in the user's tables has a comment, and
the downgrade drops nothing there without it.
"""

from typing import Any

from alembic import op

from imagegen.database import NOTIFY_CHANNEL, parts, read_tables
from imagegen.database.migrations import SchemaError
from imagegen.database.schema import OWNERSHIP_COMMENT

revision = "0001"
down_revision = None

AUTHORS = """
CREATE TABLE authors (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    wallet_address varchar(42) NOT NULL UNIQUE,
    prompt_text text,
    created_at timestamptz NOT NULL DEFAULT now()
)"""

TOKENS = """
CREATE TABLE tokens_s0 (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    token_id integer NOT NULL UNIQUE,
    author_id uuid NOT NULL REFERENCES authors (id),
    status text NOT NULL DEFAULT 'detected' CHECK (status IN
        ('detected', 'generating', 'uploading', 'ready', 'revealed', 'failed')),
    created_at timestamptz NOT NULL DEFAULT now()
)"""

TOKEN_COLUMNS = {
    "image_url": "text",
    "generation_attempts": "integer NOT NULL DEFAULT 0",
    "generation_error": "text",
    "generate_after": "timestamptz",
}

# No foreign key: this record of what was sent and paid must outlive a deleted token.
GENERATION_COLUMNS = {
    "id": "bigint GENERATED ALWAYS AS IDENTITY",
    "token_id": "integer NOT NULL",
    "attempt": "integer NOT NULL",
    "prompt": "text",
    "fallback": "boolean NOT NULL DEFAULT false",
    "model": "text NOT NULL",
    "seed": "bigint NOT NULL",
    "state": "text NOT NULL DEFAULT 'open'",
    "prediction_id": "text",
    "requested_at": "timestamptz",
    "worker": "text",
    "lease_until": "timestamptz NOT NULL",
    "opened_at": "timestamptz NOT NULL DEFAULT now()",
    "closed_at": "timestamptz",
    "error_kind": "text",
    "error_message": "text",
    "image_url": "text",
    "predict_seconds": "double precision",
}
GENERATION_CONSTRAINTS = {
    "generations_pkey": "PRIMARY KEY (id)",
    "generations_prediction_id_key": "UNIQUE (prediction_id)",
    "generations_state_check": "CHECK (state IN ('open', 'succeeded', 'failed', 'refused'))",
    "generations_check": "CHECK ((state = 'open') = (closed_at IS NULL))",
    "generations_check1": "CHECK (prediction_id IS NULL OR requested_at IS NOT NULL)",
    "generations_check2": "CHECK ((state = 'succeeded') = (image_url IS NOT NULL))",
}
GENERATION_INDEXES = {
    "generations_leases": "(lease_until) WHERE state = 'open'",
    "generations_token": "(token_id)",
    "generations_closed": "(closed_at)",
}
TOKEN_INDEXES = ("imagegen_tokens_detected", "imagegen_tokens_generating")
TRIGGER = "imagegen_notify_detected"

NOTIFY = f"""
CREATE OR REPLACE FUNCTION {TRIGGER}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('{NOTIFY_CHANNEL}', '');
    RETURN NULL;
END $$"""


def upgrade() -> None:
    is_first = not parts.has_ledger()
    for table, definition in {"authors": AUTHORS, "tokens_s0": TOKENS}.items():
        if not parts.exists(table):
            op.execute(definition)
            op.execute(f"COMMENT ON TABLE {table} IS '{OWNERSHIP_COMMENT}'")
    parts.add_columns("tokens_s0", TOKEN_COLUMNS, OWNERSHIP_COMMENT)
    parts.create_table("generations", GENERATION_COLUMNS, GENERATION_CONSTRAINTS)
    parts.create_index(
        "generations_one_open", "generations", "(token_id) WHERE state = 'open'", unique=True
    )
    for name, definition in GENERATION_INDEXES.items():
        # Revision 0005 has another one in its place.
        if name != "generations_closed" or not parts.exists("generations_ended"):
            parts.create_index(name, "generations", definition)
    detected, generating = (_labels()[status] for status in ("detected", "generating"))
    for name, definition in zip(
        TOKEN_INDEXES,
        (
            f"(created_at, token_id) WHERE status = {detected}",
            f"(token_id) WHERE status = {generating}",
        ),
        strict=True,
    ):
        parts.create_index(name, "tokens_s0", definition)
    # It makes PREPARE TRANSACTION fail. Where transactions may be prepared, whoever dropped it did
    # so for a reason.
    if is_first or parts.query("SHOW max_prepared_transactions") == [("0",)]:
        _create_trigger(detected)


def downgrade() -> None:
    op.execute(f"DROP TRIGGER IF EXISTS {TRIGGER} ON tokens_s0")
    op.execute(f"DROP FUNCTION IF EXISTS {TRIGGER}()")
    parts.drop_indexes("tokens_s0", *TOKEN_INDEXES)
    if parts.has_ledger():
        op.execute("DROP TABLE generations")
    comments = parts.columns("tokens_s0")
    parts.drop_columns(
        "tokens_s0", {name for name in TOKEN_COLUMNS if comments.get(name) == OWNERSHIP_COMMENT}
    )
    for table in ("tokens_s0", "authors"):
        if parts.is_imagegens(table):
            op.execute(f"DROP TABLE {table}")


def _create_trigger(detected: str) -> None:
    there = parts.query(
        f"""SELECT p.prosrc, t.oid FROM pg_proc p LEFT JOIN pg_trigger t
                ON t.tgfoid = p.oid AND t.tgrelid = to_regclass('tokens_s0')
            WHERE p.oid = to_regprocedure('{TRIGGER}()')"""
    )
    for source, trigger in there:
        if NOTIFY_CHANNEL not in source:
            raise SchemaError(f"the name {TRIGGER} is taken by another function", "rename that")
        if trigger:
            return
    op.execute(NOTIFY)
    op.execute(
        f"CREATE TRIGGER {TRIGGER} AFTER INSERT OR UPDATE OF status ON tokens_s0"
        f" FOR EACH ROW WHEN (NEW.status = {detected}) EXECUTE FUNCTION {TRIGGER}()"
    )


def _labels() -> dict[str, str]:
    driver: Any = op.get_bind().connection.driver_connection
    return read_tables(driver).labels
