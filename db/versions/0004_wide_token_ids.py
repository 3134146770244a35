"""Token ids above two billion: they may be bigint in an adopted table."""

from alembic import op

from imagegen.database import parts

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    is_narrow = "SELECT FROM pg_attribute WHERE attrelid = to_regclass('generations')"
    if parts.query(f"{is_narrow} AND attname = 'token_id' AND atttypid = 'integer'::regtype"):
        op.execute("ALTER TABLE generations ALTER COLUMN token_id TYPE bigint")


def downgrade() -> None:
    if "token_id" in parts.columns("generations"):
        op.execute("ALTER TABLE generations ALTER COLUMN token_id TYPE integer")
