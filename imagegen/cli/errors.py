"""Errors that end a command: lines on standard error, and an exit code."""

from typing import Any

import click

from imagegen.errors import CONFIGURATION
from imagegen.logs import lines_for_stderr


class CommandError(click.ClickException):
    """Ends a command with its messages on standard error, one a line."""

    def __init__(self, *messages: object) -> None:
        super().__init__("\n".join(f"imagegen: {message}" for message in messages))
        self.messages = messages

    def show(self, file: Any = None) -> None:
        click.echo(lines_for_stderr(self.message, "ERROR"), err=True)


class MisusedError(CommandError):
    exit_code = 2


class MisconfiguredError(CommandError):
    exit_code = CONFIGURATION
