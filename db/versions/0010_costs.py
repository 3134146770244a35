"""What predictions cost, in dollars, and the totals of those whose rows were pruned.

A request has an estimate when it leaves, so that no daily budget is exceeded, and a cost when it
has ended. A total is for one day (UTC), model, author and outcome, and whether Replicate bills it.
"""

from alembic import op

from imagegen.database import parts

revision = "0010"
down_revision = "0009"

COLUMNS = {
    "cost": "numeric",  # in dollars; NULL: no price is known, or no prediction was made
    "estimated_cost": "numeric",  # the most that it may cost, as known when the request left
}
TOTALS = "imagegen_spend_totals"
TOTALS_COLUMNS = {
    "day": "date NOT NULL",
    "model": "text NOT NULL",
    "author": "text NOT NULL",  # empty: not known
    "outcome": "text NOT NULL",
    "billing": "text NOT NULL",  # yes, perhaps or no
    "is_priced": "boolean NOT NULL",  # whether the rows had a cost
    "requests": "bigint NOT NULL",
    "predictions": "bigint NOT NULL",
    "images": "bigint NOT NULL",
    "predict_seconds": "double precision NOT NULL",
    "cost": "numeric NOT NULL",
}
KEY = "PRIMARY KEY (day, model, author, outcome, billing, is_priced)"


def upgrade() -> None:
    parts.add_columns(parts.LEDGER, COLUMNS)
    parts.create_table(TOTALS, TOTALS_COLUMNS, {"imagegen_spend_totals_pkey": KEY})


def downgrade() -> None:
    op.execute(f"DROP TABLE IF EXISTS {TOTALS}")
    parts.drop_columns(parts.LEDGER, COLUMNS)
