"""Whose prompt a generation's is: a token that is deleted and minted anew, for another author, does
not get the image of the former one. As text, whatever type the users' own column has."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE generations ADD COLUMN author text")


def downgrade() -> None:
    op.execute("ALTER TABLE generations DROP COLUMN author")
