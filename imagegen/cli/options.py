"""Options made from the settings, and errors told in one line."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import click

from imagegen.cli.output import harmless
from imagegen.cli.progress import waiting
from imagegen.config import (
    ConfigurationError,
    Settings,
    all_settings,
    load,
    misspelt,
    option_name,
    read,
    url_secrets,
)
from imagegen.errors import CONFIGURATION

if TYPE_CHECKING:
    from imagegen.database import Connection, Tables

Command = Callable[..., None]


def settings_options(*names: str, without: Collection[str] = ()) -> Callable[[Command], Command]:
    """An option for each of these settings (all but some, when none is named)."""

    def add(command: Command) -> Command:
        for item in reversed(all_settings()):
            if item.name in without or (names and item.name not in names):
                continue
            about = item.metadata
            default = f"; default: {about['default']}" if about["default"] is not None else ""
            command = click.option(
                option_name(item),
                item.name,
                metavar="TEXT",
                shell_complete=offered(about["choices"]),
                help=f"{about['help']}  [{about['variable']}{default}]",
            )(command)
        return command

    return add


def offered(choices: Iterable[str]) -> Callable[..., list[str]]:
    """What a shell offers for an option. click.Choice would check as well, in words of its own."""

    def complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete.lower())]

    return complete


def load_settings(options: dict[str, Any], *, without: Collection[str] = ()) -> Settings:
    """All settings, some of them at their defaults whatever is set; where one is missing or wrong,
    a line for each and exit code 78."""
    ignored = {item.metadata["variable"] for item in all_settings() if item.name in without}
    environment = {name: text for name, text in os.environ.items() if name not in ignored}
    try:
        return load(environment, options)
    except ConfigurationError as error:
        raise misconfigured([*error.lines, *map(harmless, misspelt(os.environ))]) from None


def load_database_url(options: dict[str, Any]) -> str:
    """DATABASE_URL alone, for commands that need no more."""
    values, wrong = read(os.environ, options, ["database_url"])
    if wrong:
        raise misconfigured(wrong)
    return str(values["database_url"])


def misconfigured(lines: list[str]) -> click.ClickException:
    return _Misconfigured("\n".join(f"imagegen: {line}" for line in lines))


@contextmanager
def told_in_one_line(database_url: str) -> Iterator[None]:
    """What the user can mend becomes one line and exit code 1, without the password in it."""
    from psycopg import Error  # noqa: PLC0415

    from imagegen.database import NotMigratedError  # noqa: PLC0415
    from imagegen.errors import CannotStartError  # noqa: PLC0415
    from imagegen.redaction import Redactor  # noqa: PLC0415

    redact = Redactor(url_secrets(database_url))
    try:
        yield
    except (NotMigratedError, CannotStartError) as error:
        raise failed(str(error)) from None
    except UnicodeEncodeError:
        raise failed("an argument holds bytes that are no text") from None
    except Error as error:
        reason = " ".join(str(error).split())
        raise failed(f"cannot use the database of DATABASE_URL: {redact(reason)}") from None


@contextmanager
def connected(database_url: str, name: str) -> "Iterator[tuple[Connection, Tables]]":
    """The database and its tables, as imagegen needs them."""
    from imagegen import database  # noqa: PLC0415

    with ExitStack() as stack:
        with waiting():
            connection = stack.enter_context(database.connect(database_url, name))
            database.check_revision(connection)
            tables = database.read_tables(connection)
        yield connection, tables


class MisusedError(click.ClickException):
    """An end with one line and exit code 2."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        click.echo(f"imagegen: {self.message}", err=True)


def failed(line: str) -> click.ClickException:
    """An end with one line and exit code 1."""
    return _Failure(f"imagegen: {line}")


class _Failure(click.ClickException):
    def show(self, file: Any = None) -> None:
        click.echo(self.message, err=True)


class _Misconfigured(_Failure):
    exit_code = CONFIGURATION
