"""How fast predictions are created: refusals slow it down, successes speed it up.

The workers of a supervisor share one token bucket, https://en.wikipedia.org/wiki/Token_bucket. The
supervisors of an account find their parts of its limit without talking to each other, as TCP's
connections do on a line: https://www.rfc-editor.org/rfc/rfc9438. After a refusal the rate rises
fast to the last good one, and slowly beyond it.
"""

import time

from imagegen.replicate import Limit, Number, SharedNumbers

# In any minute a bucket lets its burst and the minute's refill pass. The refill is this part of the
# limit, and the burst at most a thirtieth of it. The remainder is for requests that are counted in
# one minute and leave in the next.
SHARE = 0.96
BURST_PART = 1 / 30
# The burst if none is given: the refill of this time.
BURST_SECONDS = 0.1
SLOWER = 0.5
SLOWEST_PER_SECOND = 1 / 60
# The part of the way back to the last good rate that each success makes.
BACK_PART = 0.1
# Each success raises the rate by this part, and at a slow rate, where successes are rare, by more.
RAISE_PART = 0.02
RAISE_PER_SECOND = 0.005
RAISE_MOST = 0.1
# A throttle after 20 successes means that the rate was almost right; an earlier one means that it
# was far too high.
NEARLY_RIGHT = 20
NEARLY = 0.9
# After a longer hint the rate is at most one request in the time of the hint.
LONG_HINT_SECONDS = 5.0
# The rate stays within a limit that a refusal named for this time; then it rises beyond it again. A
# limit with a burst of one refuses requests that come a little early: the rate is further below it.
NAMED_SECONDS = 60.0
SINGLE_SHARE = 0.9
# After each idle minute the rate doubles, up to the share: the account's limit may have changed.
IDLE_SECONDS = 60.0
# The least level that counts as one token, because of rounding.
WHOLE = 1 - 1e-6


def burst_within(per_minute: float, slots: int) -> int:
    """Return how many predictions may be created at once: one for each slot, or fewer if that is
    more than BURST_PART of the limit `per_minute`."""
    return max(min(slots, int(per_minute * BURST_PART)), 1)


class CreateRate:
    """How many predictions a second a supervisor may create. Make it before the forks, which share
    it. Safe between threads and processes, also if one of them is killed.

    The numbers are written in an order that lets too few predictions pass, not too many, if the
    process dies in between.
    """

    per_second = Number(0)
    _good = Number(1)  # the last rate that was not refused
    _successes = Number(2)  # since the last refusal
    _tokens = Number(3)  # predictions that might leave at once at `_filled_at`
    _filled_at = Number(4)  # monotonic; later than now while a refusal holds all back
    _held_until = Number(5)  # monotonic: the end of the last refusal's hint
    _recovered_at = Number(6)  # monotonic
    _allowed = Number(7)  # how many Replicate lets leave at once, as far as it showed
    _named = Number(8)  # the rate that the last refusal named; 0: none
    _most = Number(9)  # the part of the limit that flows in

    def __init__(self, per_second: float, burst: int | None = None, workers: int = 1) -> None:
        """`per_second` is the account's limit, of which `burst` may leave at once. `workers` is the
        number of processes that share it."""
        self.numbers = SharedNumbers(10)
        self._workers = workers
        self._most = per_second * SHARE
        self._burst = float(burst or 1 + self._most * BURST_SECONDS)
        self.per_second = self._good = self._most
        self._tokens = self._allowed = self._burst
        self._filled_at = time.monotonic()

    def limit(self, per_second: float, burst: int) -> bool:
        """Set another limit of the account; return whether it is set. All workers that share the
        rate call it: the first one changes it, and the others find it changed."""
        self._burst = float(burst)
        if per_second * SHARE == self._most:
            return True
        with self.numbers.locked() as is_locked:
            if not is_locked or per_second * SHARE == self._most:
                return is_locked
            self._refill()
            # A lower rate first: a process that dies in between leaves a rate within the limit.
            self._tokens = min(self._tokens, self._burst)
            self._allowed = min(self._allowed, self._burst)
            self.per_second = self._good = per_second * SHARE
            self._named = 0.0
            self._most = per_second * SHARE
            return True

    @property
    def pace(self) -> float:
        """One worker's part of the rate, a minute: the metric adds up those of all workers."""
        return self.per_second * 60 / self._workers

    @property
    def is_held(self) -> bool:
        """Whether a refusal holds all requests back. Others refused now had left before it."""
        return time.monotonic() < self._held_until

    def ready(self) -> int:
        """Return how many may leave now. It takes no lock, so another process may be faster."""
        self._recover()
        return max(int(self._level() + 1 - WHOLE), 0)

    def next_seconds(self) -> float:
        """Return the seconds until one may leave."""
        level = self._level()
        if level >= WHOLE:
            return 0.0
        return max(self._filled_at - time.monotonic(), 0.0) + (1 - level) / self.per_second

    def take(self) -> bool:
        """Count one request, and return whether it may leave. False: it is not counted."""
        with self.numbers.locked() as is_locked:
            if not is_locked:
                return False
            self._refill()
            if self._tokens < WHOLE:
                return False
            self._tokens -= 1
            return True

    def spend(self) -> None:
        """Count one request that leaves, also if the rate does not admit it."""
        with self.numbers.locked():
            self._refill()
            self._tokens = max(self._tokens - 1, -1.0)

    def note_remaining(self, remaining: int | None) -> None:
        """Note how many more requests the account's limit admits at once, from the answer to a
        create; None if it does not show it."""
        shown = self._allowed + 1 if remaining is None else remaining + 1
        if self._allowed >= min(shown, self._burst) and self._level() < shown:
            return  # nothing new
        with self.numbers.locked() as is_locked:
            if not is_locked:
                return
            self._refill()
            if remaining is not None:
                self._tokens = min(self._tokens, max(remaining, 1.0))
                if shown > self._allowed:  # the limit is not the one that was named
                    self._named = 0.0
            self._allowed = min(max(self._allowed, shown), self._burst)

    def succeeded(self) -> None:
        """Raise the rate: the account's limit admitted a request."""
        if self.per_second >= self._most and self._successes >= NEARLY_RIGHT:
            return
        with self.numbers.locked() as is_locked:
            if not is_locked:
                return
            self._refill()
            self._successes += 1
            interval_seconds = 1 / self.per_second
            back = max(self._good - self.per_second, 0.0) * BACK_PART
            part = min(RAISE_PART + RAISE_PER_SECOND * interval_seconds, RAISE_MOST)
            self._raise_to(self.per_second * (1 + part) + back)

    def refused(self, hint_seconds: float, limit: Limit | None = None) -> None:
        """Lower the rate, and hold all requests back for `hint_seconds`: the account's limit, which
        the answer may have named (`limit`), refused one."""
        with self.numbers.locked():
            nearly_right = self._successes >= NEARLY_RIGHT
            refused_at, slower = self.per_second, self.per_second * SLOWER
            share = SHARE if limit and limit.burst > 1 else SINGLE_SHARE
            named = limit.per_second * share if limit else 0.0
            if limit and (named < refused_at or limit.burst < self._allowed):
                slower = min(named, refused_at)  # the rate or the burst was above the limit
            elif hint_seconds >= LONG_HINT_SECONDS:
                slower = min(slower, 1 / hint_seconds)
            now, slower = time.monotonic(), max(slower, SLOWEST_PER_SECOND)
            # As the hint ends there is one token.
            self._held_until = now + hint_seconds
            self._filled_at = max(now, self._held_until - 1 / slower)
            self._tokens = 0.0
            # Until an answer shows more.
            self._allowed = min(max(limit.burst, 1.0), self._burst) if limit else 1.0
            self._named = named
            self.per_second = slower
            if limit:  # the rate before may be good again when NAMED_SECONDS are over
                self._good = max(self._good, refused_at * NEARLY)
            else:
                self._good = refused_at * NEARLY if nearly_right else slower
            self._successes = 0.0

    def _level(self) -> float:
        # Fewer at a slow rate.
        depth = max(min(self._allowed, self._burst * self.per_second / self._most), 1.0)
        passed_seconds = max(time.monotonic() - self._filled_at, 0.0)
        return min(self._tokens + passed_seconds * self.per_second, depth)

    def _refill(self) -> None:
        level = self._level()
        # In this order: a process that dies in between loses tokens, and makes none.
        self._filled_at = max(self._filled_at, time.monotonic())
        self._tokens = level

    def _raise_to(self, per_second: float) -> None:
        is_named = self._named and time.monotonic() < self._held_until + NAMED_SECONDS
        most = min(self._most, self._named) if is_named else self._most
        self.per_second = max(min(per_second, most), self.per_second)

    def _recover(self) -> None:
        """Raise the rate after idle time, so that the next burst does not begin at the lowest."""
        if self.per_second >= self._most or self._idle_seconds() < IDLE_SECONDS:
            return
        with self.numbers.locked() as is_locked:
            idle_seconds = self._idle_seconds()
            if is_locked and idle_seconds >= IDLE_SECONDS:
                self._refill()
                self._recovered_at = time.monotonic()
                self._raise_to(self.per_second * 2 ** min(idle_seconds / IDLE_SECONDS, 60))

    def _idle_seconds(self) -> float:
        """Return the seconds for which a token of the bucket has been ready and not taken."""
        whole_at = self._filled_at + max(1 - self._tokens, 0.0) / self.per_second
        return time.monotonic() - max(whole_at, self._recovered_at)
