"""Tokens that another program may work on: `generating` without a generation of imagegen's."""

import time
from collections.abc import Mapping

from imagegen.logs import log

# An older worker that imagegen replaces may still be at work, and pay for the image: ten
# minutes are several times as long as a prediction takes. A worker that starts counts from zero,
# because it does not know what happened before.
ORPHAN_SECONDS = 600.0
TOKENS_NAMED = 10


class Orphans:
    """The orphans of the last repair, and since when each has been one without a break."""

    def __init__(self) -> None:
        self._since: dict[tuple[int, str], float] = {}  # by token and version; monotonic

    def abandoned(self) -> dict[int, str]:
        """Return the versions of tokens that have been orphans for long enough, by token."""
        latest = time.monotonic() - ORPHAN_SECONDS
        return dict(orphan for orphan, since in self._since.items() if since <= latest)

    def update(self, orphans: Mapping[int, str]) -> None:
        """Note the orphans of a repair. For one whose version has changed, the time starts again.

        Logs a warning if there is a new one.
        """
        now, known = time.monotonic(), self._since
        self._since = {orphan: known.get(orphan, now) for orphan in orphans.items()}
        if self._since.keys() - known.keys():
            named = list(orphans)[:TOKENS_NAMED]
            log.warning("tokens.foreign", extra={"tokens": len(orphans), "token_ids": named})
