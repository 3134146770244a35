"""An index for generations that have ended, by state and time.

It finds the latest images however many generations failed since, and counts those of ten minutes
without the table. Open generations, renewed every few seconds, are not in it.
"""

from imagegen.database import parts

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    parts.create_index(
        "generations_ended", "generations", "(state, closed_at, id) WHERE state <> 'open'"
    )
    parts.drop_indexes("generations", "generations_closed")


def downgrade() -> None:
    if "closed_at" in parts.columns("generations"):
        parts.create_index("generations_closed", "generations", "(closed_at)")
    parts.drop_indexes("generations", "generations_ended")
