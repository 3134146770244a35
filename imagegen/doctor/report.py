"""What a check of the doctor found."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

# The mend of every clock.
NTP = "set the clocks by NTP: timedatectl set-ntp true"


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"  # imagegen works, perhaps not as it is meant to
    WRONG = "wrong"  # imagegen does not start, or tokens get no image


@dataclass(frozen=True)
class Finding:
    level: Level
    check: str
    said: str
    mend: str | None = None  # a command or a setting


Findings = Iterator[Finding]


def ok(check: str, said: str) -> Finding:
    return Finding(Level.OK, check, said)


def warning(check: str, said: str, mend: str | None = None) -> Finding:
    return Finding(Level.WARNING, check, said, mend)


def wrong(check: str, said: str, mend: str) -> Finding:
    return Finding(Level.WRONG, check, said, mend)
