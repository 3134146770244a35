"""An index for failed tokens, as waiting and generating tokens have one."""

from typing import Any

from alembic import op

from imagegen.database import parts, read_tables

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    driver: Any = op.get_bind().connection.driver_connection
    failed = read_tables(driver).labels["failed"]
    parts.create_index(
        "imagegen_tokens_failed", "tokens_s0", f"(created_at, token_id) WHERE status = {failed}"
    )


def downgrade() -> None:
    parts.drop_indexes("tokens_s0", "imagegen_tokens_failed")
