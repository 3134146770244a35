"""What became of a generation, while the table of tokens refuses to take it.

The generation stays open meanwhile, and has its image already.
"""

from alembic import op

from imagegen.database import parts

revision = "0009"
down_revision = "0008"

COLUMNS = {
    "closing": "jsonb",  # the decision that is to be written
    "closing_error": "text",  # why it was refused
    "closing_refused_at": "timestamptz",  # the first time
}
HAS_IMAGE = "generations_check2"  # its name since 0001


def upgrade() -> None:
    parts.add_columns(parts.LEDGER, COLUMNS)
    _replace_check("state <> 'succeeded' OR image_url IS NOT NULL")


def downgrade() -> None:
    if not {"image_url", "state"} <= parts.columns(parts.LEDGER).keys():
        return
    op.execute("UPDATE generations SET image_url = NULL WHERE state <> 'succeeded'")
    _replace_check("(state = 'succeeded') = (image_url IS NOT NULL)")
    parts.drop_columns(parts.LEDGER, COLUMNS)


def _replace_check(condition: str) -> None:
    there = parts.query(
        f"""SELECT pg_get_constraintdef(oid) LIKE '%% OR %%' FROM pg_constraint
            WHERE conrelid = to_regclass('generations') AND conname = '{HAS_IMAGE}'"""
    )
    if there != [(" OR " in condition,)]:
        op.execute(f"ALTER TABLE generations DROP CONSTRAINT IF EXISTS {HAS_IMAGE}")
        op.execute(f"ALTER TABLE generations ADD CONSTRAINT {HAS_IMAGE} CHECK ({condition})")
