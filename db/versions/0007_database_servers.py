"""The database servers that imagegen has seen, and the account of each request.

After a failover to a standby that lagged, or a restore, the tables may have forgotten requests. The
first row stands for the server of this migration; its name also keeps the seeds of one installation
apart from those of another at the same account.
"""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute("ALTER TABLE generations ADD COLUMN account text")
    op.execute(
        """CREATE TABLE imagegen_servers (
            server text PRIMARY KEY,
            noticed_at timestamptz NOT NULL,
            ledger_until timestamptz NOT NULL
        )"""
    )
    op.execute(
        """INSERT INTO imagegen_servers SELECT concat_ws('/',
            extract(epoch FROM pg_postmaster_start_time()), pg_relation_filenode('generations')),
            '-infinity', now()"""
    )


def downgrade() -> None:
    op.execute("DROP TABLE imagegen_servers")
    op.execute("ALTER TABLE generations DROP COLUMN account")
