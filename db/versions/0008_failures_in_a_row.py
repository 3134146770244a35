"""Failures of a token's predictions in a row, and how many of them count as attempts."""

from alembic import op

revision = "0008"
down_revision = "0007"

COLUMNS = {
    "failures": "integer NOT NULL DEFAULT 0",  # in a row, this one included
    "charged": "integer NOT NULL DEFAULT 0",  # of these, the ones that count as attempts
    "failing_since": "timestamptz",  # when the first of them was requested
}


def upgrade() -> None:
    added = ", ".join(f"ADD COLUMN {name} {definition}" for name, definition in COLUMNS.items())
    op.execute(f"ALTER TABLE generations {added}")


def downgrade() -> None:
    dropped = ", ".join(f"DROP COLUMN {name}" for name in COLUMNS)
    op.execute(f"ALTER TABLE generations {dropped}")
