"""Options of several commands, the database they connect to, and errors of one line."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Any

import click
import psycopg

from imagegen import database
from imagegen.cli.progress import waiting
from imagegen.config import (
    ConfigurationError,
    Settings,
    WrongValueError,
    all_settings,
    load,
    past_moment,
    read,
    unknown_variables,
    url_secrets,
)
from imagegen.errors import CONFIGURATION, CannotStartError
from imagegen.redaction import Redactor
from imagegen.text import one_line, printable

Command = Callable[..., None]


class CommandError(click.ClickException):
    """Ends a command with its messages on standard error, one a line."""

    def __init__(self, *messages: object) -> None:
        super().__init__("\n".join(f"imagegen: {message}" for message in messages))
        self.messages = messages

    def show(self, file: Any = None) -> None:
        click.echo(self.message, err=True)


class MisusedError(CommandError):
    exit_code = 2


class MisconfiguredError(CommandError):
    exit_code = CONFIGURATION


def settings_options(*names: str, without: Collection[str] = ()) -> Callable[[Command], Command]:
    """Add an option for each of these settings (for all but some, if none is named)."""

    def add(command: Command) -> Command:
        for spec in reversed(all_settings()):
            if spec.name in without or (names and spec.name not in names):
                continue
            default = "" if spec.default is None else f"; default: {spec.default}"
            command = click.option(
                spec.option,
                spec.name,
                metavar="TEXT",
                shell_complete=complete_choices(spec.choices),
                help=f"{spec.help}  [{spec.variable}{default}]",
            )(command)
        return command

    return add


def json_option(text: str = "As one JSON object.") -> Callable[[Command], Command]:
    return click.option("--json", "as_json", is_flag=True, help=text)


def moment_option(name: str, text: str, default: str | None = None) -> Callable[[Command], Command]:
    """Add an option that is a moment in the past: a duration back from now, or a date."""

    def parse(_: click.Context, __: click.Parameter, value: str | None) -> datetime | None:
        try:
            return None if value is None else past_moment(value)
        except WrongValueError as must:
            raise MisusedError(f"{name} must be {must}") from None

    return click.option(
        name, callback=parse, default=default, show_default=True, metavar="DURATION|DATE", help=text
    )


def complete_choices(choices: Iterable[str]) -> Callable[..., list[str]]:
    """Return a completion for shells. click.Choice would check values too, with its own message."""

    def complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete.lower())]

    return complete


def load_settings(options: dict[str, Any], *, without: Collection[str] = ()) -> Settings:
    """Return all settings, those of `without` at their defaults, whatever is set.

    What is missing or wrong is a line each, and exit code 78.
    """
    ignored = {spec.variable for spec in all_settings() if spec.name in without}
    environment = {name: text for name, text in os.environ.items() if name not in ignored}
    try:
        return load(environment, options)
    except ConfigurationError as error:
        unknown = map(printable, unknown_variables(os.environ))
        raise MisconfiguredError(*error.lines, *unknown) from None


def read_settings(options: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return the values of these settings, for commands that need no more."""
    values, problems = read(os.environ, options, names)
    if problems:
        raise MisconfiguredError(*problems)
    return values


def load_database_url(options: dict[str, Any]) -> str:
    return str(read_settings(options, "database_url")["database_url"])


@contextmanager
def one_line_errors(database_url: str) -> Iterator[None]:
    """Make what the user can fix one line, without the password in it, and exit code 1."""
    try:
        yield
    except (database.NotMigratedError, CannotStartError) as error:
        raise CommandError(str(error)) from None
    except UnicodeEncodeError:
        raise CommandError("an argument holds bytes that are no text") from None
    except psycopg.Error as error:
        reason = Redactor(url_secrets(database_url))(one_line(error))
        raise CommandError(f"cannot use the database of DATABASE_URL: {reason}") from None


@contextmanager
def connected(database_url: str, application_name: str) -> Iterator[database.Connection]:
    """Connect to a database that has the revision needed; errors are one line."""
    with one_line_errors(database_url), ExitStack() as stack:
        with waiting():
            connection = stack.enter_context(database.connect(database_url, application_name))
            database.check_revision(connection)
        yield connection
