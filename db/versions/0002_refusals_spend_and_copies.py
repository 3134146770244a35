"""Columns of `generations` for refusals in a row, billed images and copies of images."""

from alembic import op

revision = "0002"
down_revision = "0001"

COLUMNS = {
    "refusals": "integer NOT NULL DEFAULT 0",  # in a row, this one included
    "refused_since": "timestamptz",  # when the first of them was opened
    "images": "integer",  # in the output: Replicate bills each
    "image_path": "text",
    "image_sha256": "text",
}


def upgrade() -> None:
    added = ", ".join(f"ADD COLUMN {name} {definition}" for name, definition in COLUMNS.items())
    op.execute(f"ALTER TABLE generations {added}")
    op.execute(
        "CREATE INDEX generations_requested ON generations (requested_at)"
        " WHERE requested_at IS NOT NULL"
    )


def downgrade() -> None:
    op.execute("DROP INDEX generations_requested")
    dropped = ", ".join(f"DROP COLUMN {name}" for name in COLUMNS)
    op.execute(f"ALTER TABLE generations {dropped}")
