"""Room for token ids beyond two billion: an adopted table may have them as bigint."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE generations ALTER COLUMN token_id TYPE bigint")


def downgrade() -> None:
    op.execute("ALTER TABLE generations ALTER COLUMN token_id TYPE integer")
