"""Which revision of the schema a database has, and which one this imagegen needs."""

from importlib.resources import files

from imagegen.database.connection import Connection

VERSION_TABLE = "imagegen_alembic_version"


class NotMigratedError(Exception):
    """The database lacks what imagegen needs; the message says what to run."""


def newest_revision() -> str:
    """The revision that this imagegen needs: migrations are numbered in their file names."""
    names = [path.name for path in files("imagegen.db.versions").iterdir()]
    return max(name.partition("_")[0] for name in names if name[:4].isdigit())


def current_revision(connection: Connection) -> str | None:
    """The database's revision, or None where imagegen was never there."""
    query = "SELECT to_regclass(%s) IS NOT NULL"
    (there,) = connection.execute(query, [VERSION_TABLE]).fetchone() or (False,)
    if not there:
        return None
    row = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()
    return str(row[0]) if row else None


def check_revision(connection: Connection) -> str:
    """The database's revision, which is the one needed. Raises NotMigratedError."""
    revision, needed = current_revision(connection), newest_revision()
    if revision is None:
        raise NotMigratedError("the database is not migrated: run `imagegen db upgrade`")
    if revision != needed:
        mend = "run `imagegen db upgrade`"
        if revision > needed:  # which this imagegen can take neither up nor down
            mend = "install the imagegen that it belongs to"
        raise NotMigratedError(
            f"the database is at revision {revision}, imagegen needs {needed}: {mend}"
        )
    return revision
