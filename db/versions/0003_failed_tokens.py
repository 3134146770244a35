"""An index for failed tokens, as waiting and generating tokens have one."""

from typing import Any

from alembic import op

from imagegen.database import read_tables

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    driver: Any = op.get_bind().connection.driver_connection
    failed = read_tables(driver).labels["failed"]
    op.execute(
        "CREATE INDEX imagegen_tokens_failed ON tokens_s0 (created_at, token_id)"
        f" WHERE status = {failed}"
    )


def downgrade() -> None:
    op.execute("DROP INDEX imagegen_tokens_failed")
