"""When to poll a prediction: seldom enough for the budget, soon after it is done."""

from collections import deque
from collections.abc import Iterator

from imagegen import backoff

# Before anything was measured: flux-schnell takes 0.84 s (its page at Replicate).
TYPICAL_SECONDS = 0.9
# One cold start of minutes must not keep the next image waiting that long.
LONGEST_FIRST_SECONDS = 10.0
FIRST_POLL_MARGIN_SECONDS = 0.01
SHORTEST_STEP_SECONDS = 0.1
LONGEST_STEP_SECONDS = 10.0
# Each wait is a part of the time that has passed: near the typical time a small one, so that an
# image is noticed early; a prediction that takes much longer is looked at ever more seldom.
FIRST_STEP = 0.1
STEP_GROWTH = 1.5
LARGEST_STEP = 0.5
JITTER = 0.1


class PollSchedule:
    """When to poll predictions, from how long they lately took by Replicate's own measure."""

    def __init__(self) -> None:
        # The published time first: one slow image, seen first, must not delay the next ones.
        self._lately: deque[float] = deque([TYPICAL_SECONDS], maxlen=20)

    def learn(self, total_seconds: float | None) -> None:
        if total_seconds is not None:
            self._lately.append(total_seconds)

    def waits(self) -> Iterator[float]:
        """Yield the seconds to wait before each poll, without end: first the typical time, then
        steps that grow with the time that has passed."""
        passed = min(max(self._typical_seconds(), SHORTEST_STEP_SECONDS), LONGEST_FIRST_SECONDS)
        # Just after the typical time rather than just before it.
        yield passed + min(FIRST_POLL_MARGIN_SECONDS, passed * FIRST_STEP)
        part = FIRST_STEP / STEP_GROWTH
        while True:
            part = min(part * STEP_GROWTH, LARGEST_STEP)
            step = min(max(passed * part, SHORTEST_STEP_SECONDS), LONGEST_STEP_SECONDS)
            step = backoff.jittered(step, JITTER)
            passed += step
            yield step

    def _typical_seconds(self) -> float:
        """Return the lower quartile: a first poll at the median comes late for half of them."""
        return sorted(self._lately)[len(self._lately) // 4]
