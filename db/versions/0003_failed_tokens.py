"""An index for the tokens that failed, as those that wait and those at work have theirs."""

from typing import Any

from alembic import op

from imagegen.database import read_tables

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    driver: Any = op.get_bind().connection.driver_connection
    failed = read_tables(driver).labels["failed"]
    op.execute(
        "CREATE INDEX imagegen_tokens_failed ON tokens_s0 (created_at, token_id)"
        f" WHERE status = {failed}"
    )


def downgrade() -> None:
    op.execute("DROP INDEX imagegen_tokens_failed")
