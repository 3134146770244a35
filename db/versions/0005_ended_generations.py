"""An index for generations that have ended, by state and time.

It finds the latest images however many generations failed since, and counts those of ten minutes
without the table. Open generations, renewed every few seconds, are not in it.
"""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute(
        "CREATE INDEX generations_ended ON generations (state, closed_at, id) WHERE state <> 'open'"
    )
    op.execute("DROP INDEX generations_closed")


def downgrade() -> None:
    op.execute("CREATE INDEX generations_closed ON generations (closed_at)")
    op.execute("DROP INDEX generations_ended")
