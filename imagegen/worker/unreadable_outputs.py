"""Decides whether outputs that cannot be read are the fault of one token or common to all."""

from imagegen.failures import shortened
from imagegen.queue import Claim

UNREADABLE_IN_A_ROW = 2
# Each probe is paid for too, so probes are far apart, up to an hour.
FIRST_UNREADABLE_SECONDS = 20.0
MAX_UNREADABLE_SECONDS = 3600.0


class UnreadableOutputs:
    """The unreadable outputs of one worker since its last image. Not safe between threads: the gate
    calls it with its lock."""

    def __init__(self) -> None:
        self._tokens: set[int] = set()  # since the last image
        self._delay_seconds = 0.0  # after the last of them
        self._images = 0
        # How many images there were when an output could not be read for the first time, by token
        # and generation: after the database went back, the id may be another token's.
        self._images_before: dict[tuple[int, int], int] = {}
        self._read_beside_image: set[tuple[int, int]] = set()

    @property
    def are_several(self) -> bool:
        return len(self._tokens) >= UNREADABLE_IN_A_ROW

    def note_image(self) -> None:
        self._images += 1
        self._tokens, self._delay_seconds = set(), 0.0

    def is_own(self, claim: Claim) -> bool | None:
        """Return True if only this output is unreadable: another token got an image since it was
        read first. None: read it once more, as this answer may be older than that image."""
        generation = claim.token_id, claim.generation_id
        if generation in self._read_beside_image:
            self._read_beside_image.discard(generation)
            del self._images_before[generation]
            return True
        if self._images == self._images_before.setdefault(generation, self._images):
            return False
        self._read_beside_image.add(generation)
        return None

    def add(self, token_id: int) -> bool:
        """Add a token. Return whether it is new, and there are several now."""
        is_new = token_id not in self._tokens
        self._tokens.add(token_id)
        return is_new and self.are_several

    def next_delay_seconds(self) -> float:
        """Return how many seconds the next probe waits: each time twice as long."""
        longer_seconds = max(self._delay_seconds * 2, FIRST_UNREADABLE_SECONDS)
        self._delay_seconds = min(longer_seconds, MAX_UNREADABLE_SECONDS)
        return shortened(self._delay_seconds)
