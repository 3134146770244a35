"""What goes wrong in a night, and when: planned from a seed."""

import random
from dataclasses import dataclass
from itertools import accumulate

# A night of eight hours passes in twenty minutes.
FACTOR = 24.0
HOUR_SECONDS = 3600.0 / FACTOR

# Each kind with its least and greatest length, in seconds of the drill. Without an alert a person
# learns of nothing, so what calls one lasts until it is found and repaired.
CALLING = {"no credit": (40.0, 40.0), "revoked credential": (40.0, 40.0), "full disk": (40.0, 40.0)}
ONCE = {
    "failover to a lagging standby": (8.0, 8.0),
    "bad hour, 503": (40.0, HOUR_SECONDS),
    "bad hour, E003": (40.0, HOUR_SECONDS),
    "bad hour, unknown words": (40.0, HOUR_SECONDS),
    "500 tokens of one author": (70.0, 70.0),
}
# Shorter than five minutes of the night, for which nobody is called: 12 s.
OFTEN = {
    "kill worker": (1.0, 1.0),
    "kill supervisor": (2.0, 2.0),
    "restart PostgreSQL": (1.0, 5.0),
    "full disk of the log": (10.0, 30.0),
    "model is gone, 404": (2.0, 5.0),
    "model is gone, 422": (2.0, 5.0),
    "network cut": (3.0, 10.0),
    "wrong setting": (2.0, 2.0),
    "pause": (10.0, 30.0),
    "tokens set back by SQL": (1.0, 3.0),
    "tokens held": (5.0, 15.0),
    "lost answers": (5.0, 15.0),
    "lost answers, lagging list": (10.0, 20.0),
    "slow predictions": (10.0, 20.0),
    "worker stands still": (2.0, 2.0),
    "supervisor stands still": (2.0, 10.0),
}
KINDS = CALLING | ONCE | OFTEN
# Some tokens are made before the first mishap, and the last ones after the last.
QUIET_SECONDS = 10.0


@dataclass(frozen=True)
class Mishap:
    """One thing that goes wrong."""

    kind: str
    at_seconds: float  # from the beginning of the night; later if the one before lasts so long
    seconds: float
    seed: int  # of what is left to chance


def plan(
    seed: int, *, mishaps: int, minutes: float, kinds: tuple[str, ...] = tuple(KINDS)
) -> list[Mishap]:
    """Return the same mishaps for the same seed: each kind before one of them comes again."""
    dice = random.Random(seed)
    drawn = draw(dice, mishaps, kinds)
    lengths = [dice.uniform(*KINDS[kind]) for kind in drawn]
    free_seconds = max(minutes * 60 - 2 * QUIET_SECONDS - sum(lengths), 0.0)
    pauses = sorted(dice.uniform(0.0, free_seconds) for _ in drawn)
    before = [0.0, *accumulate(lengths)]
    return [
        Mishap(kind, QUIET_SECONDS + pause + elapsed, seconds, dice.randrange(2**32))
        for kind, pause, elapsed, seconds in zip(drawn, pauses, before, lengths, strict=False)
    ]


def draw(dice: random.Random, mishaps: int, kinds: tuple[str, ...]) -> list[str]:
    """Those that call a person first, so that a short night has them too; then shuffle."""
    others = [kind for kind in kinds if kind not in CALLING]
    drawn = [kind for kind in kinds if kind in CALLING] + dice.sample(others, len(others))
    again = [kind for kind in kinds if kind in OFTEN] or list(kinds)
    drawn = drawn[:mishaps] + dice.choices(again, k=max(mishaps - len(drawn), 0))
    dice.shuffle(drawn)
    return drawn
