"""Replicate limits the predictions a minute, and imagegen finds a rate below the limit."""

from dataclasses import dataclass

from tests.benchmarks.figures import Figure
from tests.support.processes import Program, Site
from tests.support.sandbox import Ledger, Sandbox

# Until then imagegen looks for its pace.
SETTLED_SECONDS = 20.0
# Below, with predictions seconds apart, it takes minutes to find out what is allowed.
FAST_PER_MINUTE = 300
# What is slower than this part of the limit is no pace; more for the start and the last images.
SLOWEST, START_SECONDS = 0.3, 60.0


@dataclass(frozen=True)
class Throttled:
    """What the limiter let through and what it refused, by the second of its coming."""

    per_minute: int
    burst: int
    accepted: tuple[float, ...]
    refused: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """From the first prediction to the last."""
        return self.accepted[-1] - self.accepted[0]

    @property
    def part_of_limit(self) -> float:
        """How much of the limiter's pace was used. Its first burst, which it lets through at any
        pace, is not counted."""
        per_second = (len(self.accepted) - self.burst) / self.seconds
        return per_second * 60 / self.per_minute

    def refused_part(self, after_seconds: float = 0.0) -> float:
        """Return the part of the requests that were refused, from `after_seconds` on."""
        since = self.accepted[0] + after_seconds
        refused = sum(at >= since for at in self.refused)
        accepted = sum(at >= since for at in self.accepted)
        return refused / max(refused + accepted, 1)


def press(
    site: Site, sandbox: Sandbox, *, per_minute: int, burst: int, supervisors: list[Program]
) -> Throttled:
    """Turn all tokens into images through a limiter, with supervisors that run already."""
    tokens = sum(site.statuses().values())
    patience_seconds = tokens / per_minute * 60 / SLOWEST + START_SECONDS
    assert site.wait_until_done(patience_seconds) == {"uploading": tokens}
    for program in supervisors:
        assert program.stop() == 0
    return throttled(sandbox.ledger, per_minute, burst)


def throttled(ledger: Ledger, per_minute: int, burst: int) -> Throttled:
    creates = ledger.creates()
    return Throttled(
        per_minute,
        burst,
        accepted=tuple(each.at_seconds for each in creates if each.prediction_id),
        refused=tuple(each.at_seconds for each in creates if each.status == 429),
    )


def figures(throttled: Throttled) -> list[Figure]:
    images = len(throttled.accepted)
    fast = throttled.per_minute >= FAST_PER_MINUTE
    settled = 100 * throttled.refused_part(SETTLED_SECONDS)
    return [
        Figure("images", images, ""),
        Figure("seconds", throttled.seconds, "s"),
        Figure(
            "pace, of the limit", 100 * throttled.part_of_limit, "%", at_least=85 if fast else None
        ),
        Figure("refused, once settled", settled, "%", at_most=5 if fast else None),
        Figure("refused", len(throttled.refused), "", at_most=images - 1),
    ]
