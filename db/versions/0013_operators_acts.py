"""What operators have asked for, by whom and when: pauses, limits, holds and retries.

Rows are only added. The newest ones decide which pause and limits are in force.
"""

from alembic import op

from imagegen.database import parts

revision = "0013"
down_revision = "0012"

TABLE = "imagegen_acts"
COLUMNS = {
    "id": "bigint GENERATED ALWAYS AS IDENTITY",
    "at": "timestamptz NOT NULL DEFAULT now()",
    "who": "text NOT NULL",
    "act": "text NOT NULL",
    "token_id": "bigint",  # NULL: of all tokens
    "reason": "text",
    "until": "timestamptz",
    "details": "jsonb",
}
INDEXES = {
    "imagegen_acts_of_all": "(act, id) WHERE token_id IS NULL",
    "imagegen_acts_token": "(token_id, id) WHERE token_id IS NOT NULL",
}


def upgrade() -> None:
    parts.create_table(TABLE, COLUMNS, {"imagegen_acts_pkey": "PRIMARY KEY (id)"})
    for name, definition in INDEXES.items():
        parts.create_index(name, TABLE, definition)


def downgrade() -> None:
    op.execute(f"DROP TABLE IF EXISTS {TABLE}")
