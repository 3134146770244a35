"""Endings of a worker's work on a generation, as values. `decisions` decides from them what becomes
of the token."""

from dataclasses import dataclass
from enum import Enum, auto

from imagegen.failures import Reason
from imagegen.queue import Decision
from imagegen.replicate import Failed, Refused, Succeeded


@dataclass(frozen=True)
class Delay:
    """How long the token of a refused generation waits, by the gate."""

    seconds: float
    escalates: bool = False  # grows with each refusal in a row: other tokens passed, this did not


@dataclass(frozen=True)
class TurnedAway:
    """No prediction was made, or one that failed through no fault of the token."""

    refused: Refused
    delay: Delay


class Until(Enum):
    """What a postponed generation waits for."""

    GATE_OPENS = auto()
    DAILY_LIMIT_ADMITS = auto()
    PREDICTION_IS_SEEN = auto()
    PREDICTION_ENDS = auto()
    OUTPUT_IS_READ = auto()
    LIST_IS_READ = auto()
    LIST_HOLDS_IT = auto()
    FORGOTTEN_IS_LISTED = auto()


@dataclass(frozen=True)
class Postponed:
    """The generation waits without a slot, and any worker adopts it later."""

    until: Until
    seconds: float = 0.0  # for GATE_OPENS and FORGOTTEN_IS_LISTED
    age_seconds: float = 0.0  # since the request, or since the claim where there was none
    why: str = ""
    reason: Reason | None = None  # why the gate is closed, or is to close


@dataclass(frozen=True)
class Kept:
    """The generation was decided before, and the database refused to write the decision."""

    decision: Decision


Ending = Succeeded | Failed | TurnedAway | Postponed | Kept
