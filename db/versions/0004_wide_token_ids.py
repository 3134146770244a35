"""Token ids above two billion: they may be bigint in an adopted table."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute("ALTER TABLE generations ALTER COLUMN token_id TYPE bigint")


def downgrade() -> None:
    op.execute("ALTER TABLE generations ALTER COLUMN token_id TYPE integer")
