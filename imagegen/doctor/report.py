"""Findings of the doctor's checks."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

# The fix for every clock.
NTP = "set the clocks by NTP: timedatectl set-ntp true"


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"  # imagegen works, perhaps not as intended
    WRONG = "wrong"  # imagegen does not start, or tokens get no image


@dataclass(frozen=True)
class Finding:
    level: Level
    check: str
    message: str
    fix: str | None = None  # a command or a setting


Findings = Iterator[Finding]


def ok(check: str, message: str) -> Finding:
    return Finding(Level.OK, check, message)


def warning(check: str, message: str, fix: str | None = None) -> Finding:
    return Finding(Level.WARNING, check, message, fix)


def wrong(check: str, message: str, fix: str) -> Finding:
    return Finding(Level.WRONG, check, message, fix)
