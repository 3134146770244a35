"""`imagegen db`: the database's schema."""

import json

import click

from imagegen.cli.options import (
    failed,
    load_database_url,
    settings_options,
    told_in_one_line,
)


@click.group()
def db() -> None:
    """Bring the database's schema up or down, or look at it."""


@db.command()
@click.argument("revision", default="head")
@settings_options("database_url")
def upgrade(revision: str, **options: str | None) -> None:
    """Create or adopt the tables. Safe to repeat.

    Example: imagegen db upgrade
    """
    url = load_database_url(options)
    with told_in_one_line(url):
        from imagegen import schema  # noqa: PLC0415

        try:
            now = schema.upgrade(url, revision)
        except schema.SchemaError as error:
            raise failed(f"not migrated: {error}") from None
        click.echo(f"the database is at revision {now}")


@db.command()
@click.argument("revision", default="base")
@click.option("--yes", is_flag=True, help="Drop the record of generations as well.")
@settings_options("database_url")
def downgrade(revision: str, *, yes: bool, **options: str | None) -> None:
    """Drop what imagegen made, and nothing else. Stop the workers first.

    Example: imagegen db downgrade --yes
    """
    url = load_database_url(options)
    with told_in_one_line(url):
        from imagegen import schema  # noqa: PLC0415

        try:
            left = schema.downgrade(url, revision, lose_data=yes)
        except schema.SchemaError as error:
            raise failed(f"not migrated: {error}") from None
        click.echo(f"the database is at revision {left or 'none'}")


@db.command()
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@settings_options("database_url")
def current(*, as_json: bool, **options: str | None) -> None:
    """Print the database's revision.

    Example: imagegen db current
    """
    url = load_database_url(options)
    with told_in_one_line(url):
        from imagegen import database  # noqa: PLC0415

        with database.connect(url) as connection:
            revision = database.current_revision(connection)
        if as_json:
            told = {"revision": revision, "needed": database.newest_revision()}
            click.echo(json.dumps(told, indent=2))
        else:
            click.echo(revision or "none")


@db.command()
@settings_options("database_url")
def check(**options: str | None) -> None:
    """Exit with 0 when the database is as this imagegen needs it, with 1 and a line otherwise.

    Example: imagegen db check
    """
    url = load_database_url(options)
    with told_in_one_line(url):
        from imagegen import database  # noqa: PLC0415

        with database.connect(url) as connection:
            revision = database.check_revision(connection)
            database.read_tables(connection)
            click.echo(f"the database is at revision {revision}, as needed")
