"""Options that are durations or moments; a wrong one is one line and exit code 2."""

from datetime import UTC, datetime, timedelta
from typing import Any

import click

from imagegen.checks import WrongValueError, seconds

LONGEST_SECONDS = 36_500 * 86_400.0  # a century


class MisusedError(click.ClickException):
    """An end with one line and exit code 2."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        click.echo(f"imagegen: {self.message}", err=True)


def duration(_: click.Context, option: click.Parameter, value: str | None) -> float | None:
    """90s, 5m, 24h or 7d, as seconds."""
    if value is None:
        return None
    try:
        return seconds(least=0, most=LONGEST_SECONDS)(value)
    except WrongValueError:
        raise MisusedError(
            f"{option.opts[0]} must be a duration such as 90s, 24h or 7d, not {value!r}"
        ) from None


def since(_: click.Context, option: click.Parameter, value: str) -> datetime:
    """A duration back from now, or an ISO date or time, in UTC where it names no zone."""
    try:
        return _moment(value)
    except (ValueError, OverflowError):
        pass  # then it is a duration
    try:
        back_seconds = seconds(least=0, most=LONGEST_SECONDS)(value)
    except WrongValueError:
        raise MisusedError(
            f"{option.opts[0]} must be a duration such as 24h or 30d,"
            f" or a date such as 2026-11-01, not {value!r}"
        ) from None
    return datetime.now(UTC) - timedelta(seconds=back_seconds)


def _moment(value: str) -> datetime:
    moment = datetime.fromisoformat(value)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
