"""Options that are moments in the past; a wrong one is one line and exit code 2."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import click

from imagegen.cli.options import MisusedError
from imagegen.config import SECONDS_OF, WrongValueError, quoted, seconds

LONGEST_SECONDS = 36_500 * 86_400.0  # a century


def past_moment(_: click.Context, option: click.Parameter, value: str | None) -> datetime | None:
    """A duration back from now, or an ISO date or time, in UTC where it names no zone."""
    if value is None:
        return None
    with suppress(ValueError, OverflowError):
        return _date(value)
    # Not without a unit, though settings are: 2026 would be half an hour.
    if value.strip()[-1:] in SECONDS_OF:
        with suppress(WrongValueError):
            back_seconds = seconds(least=0, most=LONGEST_SECONDS)(value)
            return datetime.now(UTC) - timedelta(seconds=back_seconds)
    raise MisusedError(
        f"{option.opts[0]} must be a duration such as 24h or 30d,"
        f" or a date such as 2026-11-01, not {quoted(value)}"
    )


def _date(value: str) -> datetime:
    date = datetime.fromisoformat(value)
    return date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC)
