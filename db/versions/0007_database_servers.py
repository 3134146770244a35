"""The database servers that imagegen has seen, and the account of each request.

After a failover to a standby that lagged, or a restore, the tables may have forgotten requests. The
first row keeps the seeds of one installation apart from those of another at the same account. It is
the same again where the table is made again, so that requests from before are found by their seeds.
The second row stands for the server of this migration.
"""

from alembic import op

from imagegen.database import parts

revision = "0007"
down_revision = "0006"

COLUMNS = {
    "server": "text NOT NULL",
    "noticed_at": "timestamptz NOT NULL",
    "ledger_until": "timestamptz NOT NULL",
}


def upgrade() -> None:
    parts.add_columns("generations", {"account": "text"})
    if COLUMNS.keys() - parts.columns("imagegen_servers").keys():
        op.execute("DROP TABLE IF EXISTS imagegen_servers")  # its rows are worth nothing
    parts.create_table(
        "imagegen_servers", COLUMNS, {"imagegen_servers_pkey": "PRIMARY KEY (server)"}
    )
    if parts.query("SELECT FROM imagegen_servers WHERE noticed_at = '-infinity'"):
        return
    # Some providers do not let a database's users read its cluster's identifier.
    ((cluster,),) = parts.query(
        """SELECT CASE WHEN has_function_privilege('pg_control_system()', 'EXECUTE')
               THEN 'SELECT system_identifier::text FROM pg_control_system()'
               ELSE 'SELECT extract(epoch FROM pg_postmaster_start_time())::text' END"""
    )
    op.execute(
        f"""INSERT INTO imagegen_servers
            SELECT concat_ws('/', ({cluster}), d.oid, n.nspname), '-infinity', now()
            FROM pg_database d, pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace
            WHERE d.datname = current_database() AND t.oid = to_regclass('tokens_s0')"""
    )
    op.execute(
        """INSERT INTO imagegen_servers SELECT concat_ws('/',
            extract(epoch FROM pg_postmaster_start_time()), pg_relation_filenode('generations')),
            'epoch', now() ON CONFLICT (server) DO NOTHING"""
    )


def downgrade() -> None:
    op.execute("DROP TABLE IF EXISTS imagegen_servers")
    parts.drop_columns("generations", {"account"})
