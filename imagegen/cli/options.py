"""Options that several commands have, and the settings read from them."""

import os
from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from typing import Any

import click

from imagegen import config
from imagegen.cli.errors import MisconfiguredError, MisusedError
from imagegen.text import printable

Command = Callable[..., None]


def settings_options(*names: str, without: Collection[str] = ()) -> Callable[[Command], Command]:
    """Add an option for each of these settings; without names, for all but `without`."""

    def add(command: Command) -> Command:
        for spec in reversed(config.all_settings()):
            if spec.name in without or (names and spec.name not in names):
                continue
            default = "" if spec.default is None else f"; default: {spec.default}"
            command = click.option(
                spec.option, spec.name, metavar="TEXT",
                shell_complete=complete_choices(spec.choices),
                help=f"{spec.help}  [{spec.variable}{default}]",
            )(command)  # fmt: skip
        return command

    return add


def json_option(text: str = "As one JSON object.") -> Callable[[Command], Command]:
    return click.option("--json", "as_json", is_flag=True, help=text)


def moment_option(name: str, text: str, default: str | None = None) -> Callable[[Command], Command]:
    """Add an option that is a moment in the past: a duration back from now, or a date."""

    def parse(_: click.Context, __: click.Parameter, value: str | None) -> datetime | None:
        try:
            return None if value is None else config.past_moment(value)
        except config.WrongValueError as error:
            raise MisusedError(f"{name} must be {error}") from None

    return click.option(
        name, callback=parse, default=default, show_default=True, metavar="DURATION|DATE", help=text
    )


def complete_choices(choices: Iterable[str]) -> Callable[..., list[str]]:
    """Return a completion for shells. click.Choice would check values too, with its own message."""

    def complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete.lower())]

    return complete


def load_settings(options: dict[str, Any], *, without: Collection[str] = ()) -> config.Settings:
    """Return all settings, those of `without` at their defaults even if their variable is set.

    Raises MisconfiguredError with a line for each that is missing or wrong.
    """
    left_out = [spec for spec in config.all_settings() if spec.name in without]
    ignored = {name for spec in left_out for name in (spec.variable, spec.file_variable)}
    environment = {name: text for name, text in os.environ.items() if name not in ignored}
    values, problems = config.read(environment, options)
    if problems:
        unknown = map(printable, config.unknown_variables(os.environ))
        raise MisconfiguredError(*problems, *unknown)
    return config.Settings(**values)


def exposed_secrets(options: config.Options) -> list[str]:
    """Return a line for each secret that was given as an option: other users of the host see it."""
    given = {name: text for name, text in options.items() if text}
    shows = {
        "database_url": len(config.url_secrets(given.get("database_url", ""))) > 1,
        "replicate_api_token": "replicate_api_token" in given,
        "page_password": "page_password" in given,
    }
    return [
        f"{spec.option} shows a secret to all users of this host (in `ps`):"
        f" set {spec.variable} or {spec.file_variable} instead"
        for spec in config.all_settings()
        if shows.get(spec.name)
    ]


def read_settings(options: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return the values of these settings, and warn of secrets among the options. Raises
    MisconfiguredError."""
    for line in exposed_secrets(options):
        click.echo(f"imagegen: {line}", err=True)
    values, problems = config.read(os.environ, options, names)
    if problems:
        raise MisconfiguredError(*problems)
    return values
