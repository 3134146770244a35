"""The URL that a token is handed on with, if it is not the one of its image at Replicate."""

from imagegen.database import parts

revision = "0011"
down_revision = "0010"

COLUMNS = {"handed_on_url": "text"}


def upgrade() -> None:
    parts.add_columns(parts.LEDGER, COLUMNS)


def downgrade() -> None:
    parts.drop_columns(parts.LEDGER, COLUMNS)
