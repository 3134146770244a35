"""What a worker knows of the tokens that wait: whether a claim may bring something."""

import time

from imagegen.worker.gate import Gate


class Backlog:
    """Nothing is claimed after a claim that left nothing, nor while the gate holds back what it
    left. What nobody announces, such as a lease that ran out, is found after the poll interval."""

    def __init__(self, gate: Gate, poll_seconds: float) -> None:
        self._gate = gate
        self._poll_seconds = poll_seconds
        self._may_wait = True
        self._poll_at = 0.0  # monotonic

    def note_minted(self) -> None:
        """Tokens may wait that did not before."""
        self._may_wait, self._poll_at = True, 0.0

    def note_claimed(self, *, may_have_left: bool) -> None:
        self._may_wait, self._poll_at = may_have_left, time.monotonic() + self._poll_seconds

    def is_claim_due(self, free: int) -> bool:
        """Return whether a claim into so many free slots may bring something."""
        if time.monotonic() >= self._poll_at:
            return True
        return self._may_wait and self._gate.allows(free) > 0

    def next_seconds(self) -> float:
        """Return when a claim may be due next, if nothing is minted."""
        seconds = self._poll_at - time.monotonic()
        return min(seconds, self._gate.next_seconds()) if self._may_wait else seconds
