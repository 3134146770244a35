"""Decides when to poll a prediction: soon after it ends, and no more often than the budget allows.

A poll has a price: the seconds of lateness that it is worth. The sum of lateness and price is least
with steps of sqrt(2 * price / h), where h is the rate at which predictions of that age end (Barlow,
Hunter and Proschan: Optimum Checking Procedures, 1963). h is estimated from the latest predictions.
"""

import math
from collections.abc import Sequence
from statistics import fmean

from imagegen import backoff

# Before anything was measured: flux-schnell takes 0.84 s (its page at Replicate).
TYPICAL_SECONDS = 0.9
# The number of latest times that are kept.
TIMES = 20
# The longest tenth of them, such as a cold start, does not say what a poll may cost.
TYPICAL_PART = 0.9
# The part of the budget that is planned for polls: other requests use it too, and a 429 stops it.
PLANNED_PART = 0.9
# A part of the typical time. A poll that shows an image earlier by less is not worth its CPU.
LEAST_PRICE = 0.006
# A poll is delayed by this much, so that it comes just after a measured time, not just before it.
LONGEST_MARGIN_SECONDS, MARGIN = 0.01, 0.01
# The most that the first poll waits for a cold start and a queue: the next prediction may have
# neither.
LONGEST_START_SECONDS = 10.0
# The largest step, as a part of the age, once the prediction may have ended.
LARGEST_STEP = 0.5
SHORTEST_STEP_SECONDS = 0.05
# The longest step when a prediction takes longer than all before it; and the longest wait of all.
LONGEST_STEP_SECONDS, LONGEST_WAIT_SECONDS = 10.0, 60.0
JITTER = 0.1


class PollSchedule:
    """When to poll predictions, from how long they lately took by Replicate's own measure."""

    def __init__(self, polls_per_second: float) -> None:
        """`polls_per_second` is each slot's part of the budget."""
        self._planned_per_second = polls_per_second * PLANNED_PART
        # The published time first: one slow image, seen first, must not delay the next ones.
        # Slots read these tuples while another one replaces them.
        self._times: tuple[float, ...] = (TYPICAL_SECONDS,)
        self._warm_times: tuple[float, ...] = (TYPICAL_SECONDS,)
        self._round_trips: tuple[float, ...] = ()

    def learn(self, total_seconds: float | None, predict_seconds: float | None = None) -> None:
        """Note the seconds that a prediction took since its creation, and that the model worked."""
        if total_seconds is None:
            return
        at_work = total_seconds if predict_seconds is None else predict_seconds
        warm = min(total_seconds, at_work + LONGEST_START_SECONDS)
        self._times = (*self._times, total_seconds)[-TIMES:]
        self._warm_times = (*self._warm_times, warm)[-TIMES:]

    def learn_round_trip(self, seconds: float) -> None:
        """Note the seconds that a poll took, with its wait for the budget."""
        self._round_trips = (*self._round_trips, seconds)[-TIMES:]

    def wait_seconds(self, age_seconds: float) -> float:
        """Return the seconds to wait before the next poll of a prediction of this age."""
        # Replicate's clock runs since before the answer to the create, and until after the next
        # poll was sent: together as long as a poll takes.
        age = max(age_seconds, 0.0) + min(self._round_trips, default=0.0)
        times = sorted(self._times)
        step = next_step(times, age, price(times, self._planned_per_second))
        if age >= times[0]:
            step = backoff.jittered(min(step, age * LARGEST_STEP), JITTER)
        else:
            warm = max(self._warm_times) + LONGEST_MARGIN_SECONDS
            step = min(step, max(warm - age, age * LARGEST_STEP))
        return min(max(step, SHORTEST_STEP_SECONDS), LONGEST_WAIT_SECONDS)


def price(times: Sequence[float], polls_per_second: float) -> float:
    """Return how many seconds of lateness one poll is worth; `times` is sorted.

    With steps as above, predictions that end `spread` seconds after the shortest on average are
    polled sqrt(spread / (2 * price)) + 1/2 times at most, however they scatter (the Cauchy-Schwarz
    inequality), and are late by sqrt(spread * price / 2). Of this follows how many polls the budget
    allows in the time that they take, lateness included. One poll cannot be saved. As h is only
    estimated, times in groups far apart lead to more polls, which the budget then delays.
    """
    typical = fmean(times[: math.ceil(len(times) * TYPICAL_PART)])
    spread = typical - times[0]
    in_time = polls_per_second * typical - 0.5
    polls = (in_time + math.sqrt(in_time**2 + 2 * polls_per_second * spread)) / 2
    return max(spread / (2 * max(polls, 0.5) ** 2), LEAST_PRICE * typical)


def next_step(times: Sequence[float], age: float, price: float) -> float:
    """Return the seconds from this age to the next poll; `times` is sorted.

    A step below twice the price would cost more than it saves. Where the remaining times are known,
    h is one in their mean.
    """
    later = [each - age for each in times if each > age]
    if len(later) == len(times):
        return first_step(later, age, price)
    if later:
        return max(math.sqrt(2 * price * fmean(later)), 2 * price)
    # Half of the age may remain, and the longer it takes, the less is known.
    step = math.sqrt(price * age) + (age - times[-1]) * LARGEST_STEP
    return min(max(step, 2 * price), LONGEST_STEP_SECONDS)


def first_step(remaining: Sequence[float], age: float, price: float) -> float:
    """Return the seconds to the poll that is late by `price` on average, or, if nothing ends
    shortly before it, to just after the last end before it."""
    late = price * len(remaining)
    step, ended = math.inf, 0.0
    for count, seconds in enumerate(remaining, 1):
        if step <= seconds:
            break
        ended = seconds
        late += seconds
        step = late / count
    return min(step, ended + min(LONGEST_MARGIN_SECONDS, MARGIN * (age + ended)))
