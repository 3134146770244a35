"""The pause and the limits that operators have set over all hosts, as they hold now."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from importlib.resources import files

# Fragments, for statements in other files.
TEXT = files("imagegen.database").joinpath("acts.sql").read_text(encoding="utf-8")
UNLIMITED = "none"
DOLLARS = re.compile(r"\d{1,15}(\.\d{1,15})?")


@dataclass(frozen=True)
class Pause:
    """An operator's pause: nothing new is claimed or sent. Times are ISO 8601 in UTC."""

    who: str
    since: str
    reason: str | None = None
    until: str | None = None  # None: until `imagegen resume`

    def __str__(self) -> str:
        until = f", until {moment(self.until)}" if self.until else ""
        return f"by {self.who} since {moment(self.since)}{until}: {self.reason or 'no reason'}"


@dataclass(frozen=True)
class Limits:
    """Limits that operators have set in place of the settings of each host; None: not set."""

    daily_limit: int | str | None = None  # UNLIMITED: none, whatever the setting is
    create_rate: int | None = None  # a minute, for each supervisor
    daily_budget: str | None = None  # dollars, as a decimal number, or UNLIMITED

    @classmethod
    def of(cls, details: object) -> "Limits":
        """Return the limits in the `details` of an act. Values of a wrong type are left out."""
        names = ("daily_limit", "create_rate", "daily_budget")
        known = details if isinstance(details, Mapping) else {}
        daily_limit, create_rate, daily_budget = map(known.get, names)
        is_daily = daily_limit == UNLIMITED or (isinstance(daily_limit, int) and daily_limit >= 0)
        is_rate = isinstance(create_rate, int) and create_rate > 0
        is_budget = isinstance(daily_budget, str) and (
            daily_budget == UNLIMITED or DOLLARS.fullmatch(daily_budget)
        )
        return cls(
            daily_limit if is_daily else None,
            create_rate if is_rate else None,
            daily_budget if is_budget else None,
        )

    def daily(self, setting: int | None) -> int | None:
        """Return the daily limit that holds with this setting; None: there is none."""
        if self.daily_limit is None:
            return setting
        return None if self.daily_limit == UNLIMITED else int(self.daily_limit)

    def budget(self, setting: Decimal | None) -> Decimal | None:
        """Return the daily budget (dollars) that holds with this setting; None: there is none."""
        if self.daily_budget is None:
            return setting
        return None if self.daily_budget == UNLIMITED else Decimal(self.daily_budget)


def moment(iso: str) -> str:
    """Return an ISO time in UTC in the form 2026-11-24 02:03:04 UTC."""
    return f"{iso[:19].replace('T', ' ')} UTC"
