"""Which outputs that were paid for cannot be read: one token's, or those of all."""

from imagegen.failures import shortened
from imagegen.queue import Claim

UNREADABLE_IN_A_ROW = 2
# Each probe is paid for too: so they are far apart, up to an hour.
FIRST_UNREADABLE_SECONDS = 20.0
MAX_UNREADABLE_SECONDS = 3600.0


class UnreadableOutputs:
    """Those of one worker since the last image. Not safe between threads: the gate's lock keeps
    it."""

    def __init__(self) -> None:
        self._tokens: set[int] = set()  # since the last image
        self._delay_seconds = 0.0  # after the last of them
        self._images = 0
        # How many images there had been when an output could not be read at first. A generation's
        # id alone may be another token's after the database went back.
        self._images_before: dict[tuple[int, int], int] = {}
        self._read_beside_image: set[tuple[int, int]] = set()

    @property
    def are_several(self) -> bool:
        return len(self._tokens) >= UNREADABLE_IN_A_ROW

    def note_image(self) -> None:
        self._images += 1
        self._tokens, self._delay_seconds = set(), 0.0

    def is_own(self, claim: Claim) -> bool | None:
        """Return whether an output is unreadable for itself, because images of other tokens can be
        read. None: it has to be read once more, as this answer may be older than such an image."""
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
        """Return whether it makes them several, or more than they were."""
        is_new = token_id not in self._tokens
        self._tokens.add(token_id)
        return is_new and self.are_several

    def next_delay_seconds(self) -> float:
        """Return how long the next probe waits: each time twice as long."""
        longer_seconds = max(self._delay_seconds * 2, FIRST_UNREADABLE_SECONDS)
        self._delay_seconds = min(longer_seconds, MAX_UNREADABLE_SECONDS)
        return shortened(self._delay_seconds)
