"""What became of a generation, while the table of tokens refuses to take it.

The generation stays open meanwhile, and has its image already.
"""

from alembic import op

revision = "0009"
down_revision = "0008"

COLUMNS = {
    "closing": "jsonb",  # the decision that is to be written
    "closing_error": "text",  # why it was refused
    "closing_refused_at": "timestamptz",  # the first time
}
HAS_IMAGE = "generations_check2"  # its name since 0001


def upgrade() -> None:
    added = ", ".join(f"ADD COLUMN {name} {definition}" for name, definition in COLUMNS.items())
    op.execute(f"ALTER TABLE generations {added}")
    _replace_check("state <> 'succeeded' OR image_url IS NOT NULL")


def downgrade() -> None:
    op.execute("UPDATE generations SET image_url = NULL WHERE state <> 'succeeded'")
    _replace_check("(state = 'succeeded') = (image_url IS NOT NULL)")
    dropped = ", ".join(f"DROP COLUMN {name}" for name in COLUMNS)
    op.execute(f"ALTER TABLE generations {dropped}")


def _replace_check(condition: str) -> None:
    op.execute(f"ALTER TABLE generations DROP CONSTRAINT {HAS_IMAGE}")
    op.execute(f"ALTER TABLE generations ADD CONSTRAINT {HAS_IMAGE} CHECK ({condition})")
