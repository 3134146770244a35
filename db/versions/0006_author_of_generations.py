"""The author of a generation's prompt, as text whatever the type of the user's column.

A token that is deleted and minted again for another author must not get the first one's image.
"""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute("ALTER TABLE generations ADD COLUMN author text")


def downgrade() -> None:
    op.execute("ALTER TABLE generations DROP COLUMN author")
