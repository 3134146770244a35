"""Failures of a token's predictions in a row, and how many of them count as attempts."""

from imagegen.database import parts

revision = "0008"
down_revision = "0007"

COLUMNS = {
    "failures": "integer NOT NULL DEFAULT 0",  # in a row, this one included
    "charged": "integer NOT NULL DEFAULT 0",  # of these, the ones that count as attempts
    "failing_since": "timestamptz",  # when the first of them was requested
}


def upgrade() -> None:
    parts.add_columns(parts.LEDGER, COLUMNS)


def downgrade() -> None:
    parts.drop_columns(parts.LEDGER, COLUMNS)
