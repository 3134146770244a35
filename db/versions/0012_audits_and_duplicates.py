"""Predictions that were cancelled as duplicates, and the results of audits.

A duplicate is another prediction of the same request, made by something in between that sent the
request again. It is no generation: it has no seed of its own, and counts as no attempt.
"""

from alembic import op

from imagegen.database import parts

revision = "0012"
down_revision = "0011"

DUPLICATES = {
    "prediction_id": "text NOT NULL",
    "generation_id": "bigint NOT NULL",  # whose request made it
    "token_id": "bigint NOT NULL",
    "model": "text NOT NULL",
    "account": "text",
    "status": "text NOT NULL",  # before it was cancelled
    "made_at": "timestamptz NOT NULL",
}
AUDITS = {
    "at": "timestamptz NOT NULL",
    "since": "timestamptz NOT NULL",
    "until": "timestamptz NOT NULL",
    "account": "text NOT NULL",
    "counts": "jsonb NOT NULL",
    "unexplained": "bigint NOT NULL",
}


def upgrade() -> None:
    parts.create_table(
        "imagegen_duplicates",
        DUPLICATES,
        {"imagegen_duplicates_pkey": "PRIMARY KEY (prediction_id)"},
    )
    parts.create_index("imagegen_duplicates_made", "imagegen_duplicates", "(made_at)")
    parts.create_table("imagegen_audits", AUDITS, {"imagegen_audits_pkey": "PRIMARY KEY (at)"})


def downgrade() -> None:
    op.execute("DROP TABLE IF EXISTS imagegen_audits")
    op.execute("DROP TABLE IF EXISTS imagegen_duplicates")
