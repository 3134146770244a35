"""When to look at a prediction: as seldom as the budget wants, as soon as it is done."""

import random
import statistics
from collections import deque
from collections.abc import Iterator

# Before anything was measured: flux-schnell takes 0.7 s (Replicate's blog).
FIRST_LOOK_SECONDS = 0.7
# One cold start of minutes must not keep the next image waiting that long.
LONGEST_FIRST_SECONDS = 10.0
FIRST_LOOK_MARGIN_SECONDS = 0.01
SHORTEST_STEP_SECONDS = 0.1
LONGEST_STEP_SECONDS = 5.0  # keeps the connection alive, which Replicate and httpx drop after 5 s
# Each wait is this part of the time that has passed, so an image is noticed that much late.
STEP = 0.1
JITTER = 0.1


class Pace:
    """How long predictions lately took, as Replicate measured it."""

    def __init__(self) -> None:
        self._lately: deque[float] = deque(maxlen=20)

    def learn(self, total_seconds: float | None) -> None:
        if total_seconds is not None:
            self._lately.append(total_seconds)

    def waits(self) -> Iterator[float]:
        """The seconds to wait before each look, without end: first the typical time, then steps
        that grow with the time that has passed."""
        passed = statistics.median(self._lately) if self._lately else FIRST_LOOK_SECONDS
        passed = min(max(passed, SHORTEST_STEP_SECONDS), LONGEST_FIRST_SECONDS)
        # Just after the typical time rather than just before it.
        yield passed + min(FIRST_LOOK_MARGIN_SECONDS, passed * STEP)
        while True:
            step = min(max(passed * STEP, SHORTEST_STEP_SECONDS), LONGEST_STEP_SECONDS)
            step *= random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 (no secret)
            passed += step
            yield step
