"""Decides whether a claim may bring something, from the last claim, the gate and NOTIFY."""

import time

from imagegen.worker.gate import Gate


class Backlog:
    """A claim is due at once if tokens may wait and the gate admits one. Otherwise it is due after
    the poll interval, for work that no NOTIFY announces, such as an expired lease."""

    def __init__(self, gate: Gate, poll_seconds: float) -> None:
        self._gate = gate
        self._poll_seconds = poll_seconds
        self._may_wait = True
        self._poll_at = 0.0  # monotonic

    def note_minted(self) -> None:
        """Note that new tokens may wait: a claim is due."""
        self._may_wait, self._poll_at = True, 0.0

    def note_claimed(self, *, may_have_left: bool) -> None:
        self._may_wait, self._poll_at = may_have_left, time.monotonic() + self._poll_seconds

    def is_claim_due(self, free: int) -> bool:
        """Return whether a claim into `free` slots may bring something."""
        if time.monotonic() >= self._poll_at:
            return True
        return self._may_wait and self._gate.allows(free) > 0

    def next_seconds(self) -> float:
        """Return the seconds until a claim may be due, unless a token is minted before."""
        seconds = self._poll_at - time.monotonic()
        return min(seconds, self._gate.next_seconds()) if self._may_wait else seconds
