"""How a worker's work on a generation ends, as values: what becomes of the token is decided from
them in `settlement`."""

from dataclasses import dataclass
from enum import Enum, auto

from imagegen.failures import Reason
from imagegen.queue import Decision
from imagegen.replicate import Failed, Refused, Succeeded


@dataclass(frozen=True)
class Delay:
    """When the token of a refused generation may try again, as the gate says."""

    seconds: float
    escalates: bool = False  # with each refusal in a row: others passed, so it is the token's own


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
    """There is nothing to do but wait, which takes no slot: any worker adopts it later."""

    until: Until
    seconds: float = 0.0  # where the gate knows
    age_seconds: float = 0.0  # since the request, or since the claim where there was none
    why: str = ""
    reason: Reason | None = None  # why the gate is closed


@dataclass(frozen=True)
class Kept:
    """It ended before, and the database refused what was decided."""

    decision: Decision


Ending = Succeeded | Failed | TurnedAway | Postponed | Kept
