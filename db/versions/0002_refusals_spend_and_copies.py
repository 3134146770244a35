"""Columns of `generations` for refusals in a row, billed images and copies of images."""

from imagegen.database import parts

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
    parts.add_columns("generations", COLUMNS)
    parts.create_index(
        "generations_requested", "generations", "(requested_at) WHERE requested_at IS NOT NULL"
    )


def downgrade() -> None:
    parts.drop_indexes("generations", "generations_requested")
    parts.drop_columns("generations", COLUMNS)
