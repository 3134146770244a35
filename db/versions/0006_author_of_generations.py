"""The author of a generation's prompt, as text whatever the type of the user's column.

A token that is deleted and minted again for another author must not get the first one's image.
"""

from imagegen.database import parts

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    parts.add_columns("generations", {"author": "text"})


def downgrade() -> None:
    parts.drop_columns("generations", {"author"})
