"""`imagegen db`: the database's schema."""

import json
import re

import click

from imagegen.cli.options import (
    MisusedError,
    failed,
    load_database_url,
    settings_options,
    told_in_one_line,
)
from imagegen.cli.progress import waiting

as_json_option = click.option("--json", "as_json", is_flag=True, help="As one JSON object.")


@click.group()
def db() -> None:
    """Bring the database's schema up or down, or look at it.

    Example: imagegen db upgrade
    """


def _revision(_: click.Context, __: click.Parameter, value: str) -> str:
    """Alembic has no line of its own for what cannot be a revision at all."""
    if not re.fullmatch(r"[\w+-]+", value):
        raise MisusedError(f"REVISION must be head, base, or one such as 0003, not {value!r}")
    return value


@db.command()
@click.argument("revision", default="head", callback=_revision)
@as_json_option
@settings_options("database_url")
def upgrade(revision: str, *, as_json: bool, **options: str | None) -> None:
    """Create or adopt the tables. Safe to repeat.

    Example: imagegen db upgrade
    """
    url = load_database_url(options)
    with told_in_one_line(url), waiting():
        from imagegen import database  # noqa: PLC0415
        from imagegen.database import migrations, preflight  # noqa: PLC0415

        try:
            now = migrations.upgrade(url, revision)
        except migrations.SchemaError as error:
            raise failed(f"not migrated: {error}") from None
        with database.connect(url) as connection:
            found = preflight.problems(connection, {})
    for problem in found:
        if not problem.prevents_start:
            click.echo(f"imagegen: {problem}", err=True)
    _tell(now, f"the database is at revision {now or 'none'}", as_json=as_json)


@db.command()
@click.argument("revision", default="base", callback=_revision)
@click.option("--yes", is_flag=True, help="Drop what holds rows as well, tokens and record.")
@as_json_option
@settings_options("database_url")
def downgrade(revision: str, *, yes: bool, as_json: bool, **options: str | None) -> None:
    """Undo migrations, down to REVISION. Stop the workers first.

    REVISION is where to stop, such as 0003 or -1 (after --); the default, base, goes all the way
    down. That drops what imagegen made and nothing else: the generations, which are the record of
    what was sent and paid, columns and indexes in your tables, and tokens_s0 and authors where
    imagegen made these too. Tables that it adopted stay, with their rows.

    Nothing that holds rows is dropped without --yes; what that would be is told, with its count.

    \b
    Example: imagegen db downgrade 0003
             imagegen db downgrade --yes
    """
    url = load_database_url(options)
    with told_in_one_line(url), waiting():
        from imagegen.database import migrations  # noqa: PLC0415

        try:
            left = migrations.downgrade(url, revision, lose_data=yes)
        except migrations.SchemaError as error:
            raise failed(f"not migrated: {error}") from None
    _tell(left, f"the database is at revision {left or 'none'}", as_json=as_json)


@db.command()
@as_json_option
@settings_options("database_url")
def current(*, as_json: bool, **options: str | None) -> None:
    """Print the database's revision.

    Example: imagegen db current
    """
    url = load_database_url(options)
    with told_in_one_line(url), waiting():
        from imagegen import database  # noqa: PLC0415

        with database.connect(url) as connection:
            revision = database.current_revision(connection)
    _tell(revision, revision or "none", as_json=as_json)


@db.command()
@as_json_option
@settings_options("database_url")
def check(*, as_json: bool, **options: str | None) -> None:
    """Tell whether the database is as this imagegen needs it.

    Exit code 0 when it is, 1 with the mend otherwise.

    Example: imagegen db check
    """
    url = load_database_url(options)
    with told_in_one_line(url), waiting():
        from imagegen import database  # noqa: PLC0415

        with database.connect(url) as connection:
            revision = database.check_revision(connection)
            database.read_tables(connection)
    _tell(revision, f"the database is at revision {revision}, as needed", as_json=as_json)


def _tell(revision: str | None, line: str, *, as_json: bool) -> None:
    if as_json:
        from imagegen.database import newest_revision  # noqa: PLC0415

        line = json.dumps({"revision": revision, "needed": newest_revision()}, indent=2)
    click.echo(line)
