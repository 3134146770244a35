"""The revision of a database's schema, and the one that this imagegen needs."""

from importlib.resources import files

from imagegen.database.connection import Connection
from imagegen.errors import ImagegenError

VERSION_TABLE = "imagegen_alembic_version"
UPGRADE = "run `imagegen db upgrade`"


class NotMigratedError(ImagegenError):
    """The database's tables are not as this imagegen needs them."""


def newest_revision() -> str:
    """Return the revision that this imagegen needs: the largest number of a migration's file."""
    names = [path.name for path in files("imagegen.db.versions").iterdir()]
    return max(name.partition("_")[0] for name in names if name[:4].isdigit())


def current_revision(connection: Connection) -> str | None:
    """Return the database's revision, or None if it was never migrated."""
    query = """SELECT 1 FROM pg_attribute
               WHERE attrelid = to_regclass(%s) AND attname = 'version_num' AND NOT attisdropped"""
    if not connection.execute(query, [VERSION_TABLE]).fetchone():
        return None
    row = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()
    return str(row[0]) if row else None


def check_revision(connection: Connection) -> str:
    """Return the database's revision. Raises NotMigratedError if another one is needed."""
    revision, needed = current_revision(connection), newest_revision()
    if revision is None:
        raise NotMigratedError("the database is not migrated", UPGRADE)
    if revision != needed:
        # This imagegen can migrate a newer database neither up nor down.
        fix = "install the imagegen that it belongs to" if revision > needed else UPGRADE
        raise NotMigratedError(
            f"the database is at revision {revision}, imagegen needs {needed}", fix
        )
    return revision
