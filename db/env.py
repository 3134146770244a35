"""Alembic's environment: runs the migrations on the connection of `imagegen.database.migrations`.

The version table has its own name, because `alembic_version` may be the application's.
"""

from alembic import context

from imagegen.database import VERSION_TABLE

connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table=VERSION_TABLE)
with context.begin_transaction():
    context.run_migrations()
