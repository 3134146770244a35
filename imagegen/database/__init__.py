"""Connections to PostgreSQL, and the schema and tables of the database.

Import the modules `migrations` and `preflight` by name: alembic is slow to import.
"""

from imagegen.database.answers import (
    AnswerLimit,
    BoundedConnection,
    NoAnswerError,
    in_background,
)
from imagegen.database.brief import BRIEFLY
from imagegen.database.connection import (
    AWAY,
    EXPORTER_CONNECTIONS,
    NOTIFY_CHANNEL,
    SLOTS_CONNECTIONS,
    WORKER_CONNECTIONS,
    Connection,
    Pool,
    connect,
    connect_bounded,
    is_pooled,
    one_round,
    open_pool,
    statement_timeout,
    why_away,
)
from imagegen.database.revision import (
    VERSION_TABLE,
    NotMigratedError,
    check_revision,
    current_revision,
    newest_revision,
)
from imagegen.database.tables import (
    STATUSES,
    Tables,
    TablesAwayError,
    away_if_changed,
    read_tables,
)

__all__ = [
    "AWAY",
    "BRIEFLY",
    "EXPORTER_CONNECTIONS",
    "NOTIFY_CHANNEL",
    "SLOTS_CONNECTIONS",
    "STATUSES",
    "VERSION_TABLE",
    "WORKER_CONNECTIONS",
    "AnswerLimit",
    "BoundedConnection",
    "Connection",
    "NoAnswerError",
    "NotMigratedError",
    "Pool",
    "Tables",
    "TablesAwayError",
    "away_if_changed",
    "check_revision",
    "connect",
    "connect_bounded",
    "current_revision",
    "in_background",
    "is_pooled",
    "newest_revision",
    "one_round",
    "open_pool",
    "read_tables",
    "statement_timeout",
    "why_away",
]
