"""The user's tables if they are missing, the columns that imagegen adds, and `generations`.

Tables that exist are adopted. What this migration makes in the user's tables has a comment, and
the downgrade drops nothing there without it.
"""

from typing import Any

from alembic import op

from imagegen.database import NOTIFY_CHANNEL, read_tables
from imagegen.database.migrations import OWNERSHIP_COMMENT

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
GENERATIONS = """
CREATE TABLE generations (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token_id integer NOT NULL,
    attempt integer NOT NULL,
    prompt text,
    fallback boolean NOT NULL DEFAULT false,
    model text NOT NULL,
    seed bigint NOT NULL,
    state text NOT NULL DEFAULT 'open'
        CHECK (state IN ('open', 'succeeded', 'failed', 'refused')),
    prediction_id text UNIQUE,
    requested_at timestamptz,
    worker text,
    lease_until timestamptz NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT now(),
    closed_at timestamptz,
    error_kind text,
    error_message text,
    image_url text,
    predict_seconds double precision,
    CHECK ((state = 'open') = (closed_at IS NULL)),
    CHECK (prediction_id IS NULL OR requested_at IS NOT NULL),
    CHECK ((state = 'succeeded') = (image_url IS NOT NULL))
)"""

NOTIFY = f"""
CREATE FUNCTION imagegen_notify_detected() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('{NOTIFY_CHANNEL}', '');
    RETURN NULL;
END $$"""


def upgrade() -> None:
    for table, definition in {"authors": AUTHORS, "tokens_s0": TOKENS}.items():
        if not _exists(table):
            op.execute(definition)
            op.execute(f"COMMENT ON TABLE {table} IS '{OWNERSHIP_COMMENT}'")
    for column, definition in TOKEN_COLUMNS.items():
        if column not in _columns():
            op.execute(f"ALTER TABLE tokens_s0 ADD COLUMN {column} {definition}")
            op.execute(f"COMMENT ON COLUMN tokens_s0.{column} IS '{OWNERSHIP_COMMENT}'")
    op.execute(GENERATIONS)
    op.execute(
        "CREATE UNIQUE INDEX generations_one_open ON generations (token_id) WHERE state = 'open'"
    )
    op.execute("CREATE INDEX generations_leases ON generations (lease_until) WHERE state = 'open'")
    op.execute("CREATE INDEX generations_token ON generations (token_id)")
    op.execute("CREATE INDEX generations_closed ON generations (closed_at)")
    detected, generating = (_labels()[status] for status in ("detected", "generating"))
    op.execute(
        "CREATE INDEX imagegen_tokens_detected ON tokens_s0 (created_at, token_id)"
        f" WHERE status = {detected}"
    )
    op.execute(
        "CREATE INDEX imagegen_tokens_generating ON tokens_s0 (token_id)"
        f" WHERE status = {generating}"
    )
    op.execute(NOTIFY)
    op.execute(
        "CREATE TRIGGER imagegen_notify_detected AFTER INSERT OR UPDATE OF status ON tokens_s0"
        f" FOR EACH ROW WHEN (NEW.status = {detected})"
        " EXECUTE FUNCTION imagegen_notify_detected()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER imagegen_notify_detected ON tokens_s0")
    op.execute("DROP FUNCTION imagegen_notify_detected()")
    op.execute("DROP INDEX imagegen_tokens_detected, imagegen_tokens_generating")
    op.execute("DROP TABLE generations")
    for column, comment in _columns().items():
        if column in TOKEN_COLUMNS and comment == OWNERSHIP_COMMENT:
            op.execute(f"ALTER TABLE tokens_s0 DROP COLUMN {column}")
    for table in ("tokens_s0", "authors"):
        ((comment,),) = _query(f"SELECT obj_description('{table}'::regclass, 'pg_class')")
        if comment == OWNERSHIP_COMMENT:
            op.execute(f"DROP TABLE {table}")


def _exists(table: str) -> bool:
    return bool(_query(f"SELECT to_regclass('{table}') IS NOT NULL")[0][0])


def _columns() -> dict[str, str | None]:
    """Return the columns of tokens_s0 with their comments."""
    rows = _query(
        """SELECT attname, col_description(attrelid, attnum) FROM pg_attribute
           WHERE attrelid = 'tokens_s0'::regclass AND attnum > 0 AND NOT attisdropped"""
    )
    return {str(name): comment for name, comment in rows}


def _labels() -> dict[str, str]:
    driver: Any = op.get_bind().connection.driver_connection
    return read_tables(driver).labels


def _query(sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in op.get_bind().exec_driver_sql(sql)]
