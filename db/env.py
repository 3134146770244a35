"""Alembic's environment: runs the migrations on the connection that `imagegen.database.migrations` hands over.

imagegen has a version table of its own: in a database that it shares, `alembic_version` is taken.
"""  # noqa: E501

from alembic import context

from imagegen.database import VERSION_TABLE

connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table=VERSION_TABLE)
with context.begin_transaction():
    context.run_migrations()
