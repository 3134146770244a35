"""`imagegen db`: the database's schema."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import click

from imagegen import database
from imagegen.cli.connection import connected, one_line_errors, read_database_url
from imagegen.cli.errors import CommandError, MisusedError
from imagegen.cli.options import json_option, settings_options
from imagegen.cli.output import emit
from imagegen.cli.progress import waiting
from imagegen.database import preflight


@click.group()
def db() -> None:
    """Bring the database's schema up or down, or look at it.

    Example: imagegen db upgrade
    """


def _revision(_: click.Context, __: click.Parameter, value: str | None) -> str:
    """Return the text if it may be a revision. Raises MisusedError, because Alembic has no message
    of one line for others."""
    if value is None:
        fix = "such as 0012; base drops all that imagegen made"
        raise MisusedError(f"REVISION is missing: name the one to go down to, {fix}")
    if not re.fullmatch(r"[\w+-]+", value):
        raise MisusedError(f"REVISION must be head, base, or one such as 0003, not {value!r}")
    return value


@contextmanager
def _migrations(url: str) -> Iterator[ModuleType]:
    """Import the migrations. Their errors, and those of the database, are one line."""
    # Alembic takes half a second to import, and other commands do without it.
    from imagegen.database import migrations  # noqa: PLC0415

    with one_line_errors(url), waiting():
        try:
            yield migrations
        except migrations.SchemaError as error:
            raise CommandError(f"not migrated: {error}") from None


@db.command()
@click.argument("revision", default="head", callback=_revision)
@json_option()
@settings_options("database_url")
def upgrade(revision: str, *, as_json: bool, **options: str | None) -> None:
    """Create or adopt the tables. Safe to repeat.

    Example: imagegen db upgrade
    """
    url = read_database_url(options)
    with _migrations(url) as migrations:
        now = migrations.upgrade(url, revision)
        with database.connect(url) as connection:
            found = preflight.problems(connection, {})
    for problem in found:
        if not problem.prevents_start:
            click.echo(f"imagegen: {problem}", err=True)
    _show(now, f"the database is at revision {now or 'none'}", as_json=as_json)


@db.command()
@click.argument("revision", metavar="REVISION", required=False, callback=_revision)
@click.option("--yes", is_flag=True, help="Drop what holds rows as well, tokens and record.")
@json_option()
@settings_options("database_url")
def downgrade(revision: str, *, yes: bool, as_json: bool, **options: str | None) -> None:
    """Undo migrations, down to REVISION. Stop the workers first.

    REVISION is where to stop, such as 0003 or -1 (after --); base goes all the way down. That
    drops what imagegen made and nothing else: the generations, which are the record of what was
    sent and paid, columns and indexes in your tables, and tokens_s0 and authors where imagegen made
    these too. Tables that it adopted stay, with their rows.

    Nothing that holds rows is dropped without --yes; the error lists it, with its row counts.
    While workers hold leases, nothing is dropped at all.

    \b
    Example: imagegen db downgrade 0003
             imagegen db downgrade base --yes
    """
    url = read_database_url(options)
    with _migrations(url) as migrations:
        now = migrations.downgrade(url, revision, lose_data=yes)
    _show(now, f"the database is at revision {now or 'none'}", as_json=as_json)


@db.command()
@json_option()
@settings_options("database_url")
def current(*, as_json: bool, **options: str | None) -> None:
    """Print the database's revision.

    Example: imagegen db current
    """
    url = read_database_url(options)
    with one_line_errors(url), waiting(), database.connect(url) as connection:
        revision = database.current_revision(connection)
    _show(revision, revision or "none", as_json=as_json)


@db.command()
@json_option()
@settings_options("database_url")
def check(*, as_json: bool, **options: str | None) -> None:
    """Check that the database is as this imagegen needs it.

    Exit code 0 if it is; otherwise 1, with the fix.

    Example: imagegen db check
    """
    with connected(read_database_url(options), "imagegen") as connection, waiting():
        for problem in preflight.table_problems(connection):
            if problem.prevents_start:
                raise CommandError(str(problem))
        revision = database.current_revision(connection)
    _show(revision, f"the database is at revision {revision}, as needed", as_json=as_json)


def _show(revision: str | None, line: str, *, as_json: bool) -> None:
    emit({"revision": revision, "needed": database.newest_revision()}, [line], as_json=as_json)
