"""Settings for statements that read a few rows, and wait only briefly for locked rows.

Without a pooler they are set once in a session, and its statements are prepared. Behind a pooler
they are sent with each statement.
"""

from psycopg import Connection

# How long a statement waits for a row that another transaction has locked.
LOCK_MILLISECONDS = 200
# A statement takes milliseconds. If it takes this long, a trigger of the application holds it up.
STATEMENT_MILLISECONDS = 8_000
# Each statement finds its rows by an index, whatever the statistics say: they are missing or old
# after a burst, and a plan that was made for an empty table is used until the next ANALYZE.
PLANNER = {
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_material": "off",
}
SETTINGS = {
    "lock_timeout": str(LOCK_MILLISECONDS),
    "statement_timeout": str(STATEMENT_MILLISECONDS),
    # PostgreSQL expects a claim to read a tenth of all waiting tokens, and would spend more time on
    # compiling it than the claim takes.
    "jit": "off",
    **PLANNER,
}
# All statements assume READ COMMITTED, whatever the database's default is.
BRIEFLY = "SET LOCAL transaction_isolation = 'read committed'; " + "".join(
    f"SET LOCAL {name} = {value}; " for name, value in SETTINGS.items()
)
OF_A_SESSION = SETTINGS | {
    "default_transaction_isolation": "'read committed'",
    "plan_cache_mode": "force_generic_plan",
}
PLANNED_AS_USUAL = "".join(f"SET LOCAL {name} TO DEFAULT; " for name in PLANNER)


def prepare_session(connection: Connection[tuple[object, ...]]) -> None:
    """Set these settings in a session, until its end."""
    connection.execute("; ".join(f"SET {name} = {value}" for name, value in OF_A_SESSION.items()))
