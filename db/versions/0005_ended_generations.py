"""An index for the generations that ended: the latest images are found however many failed since,
and those of ten minutes are counted in it alone. An open one, renewed every few seconds, is not
in it."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE INDEX generations_ended ON generations (state, closed_at, id) WHERE state <> 'open'"
    )
    op.execute("DROP INDEX generations_closed")


def downgrade() -> None:
    op.execute("CREATE INDEX generations_closed ON generations (closed_at)")
    op.execute("DROP INDEX generations_ended")
