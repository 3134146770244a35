"""Reads Replicate's list once for all slots that wait for it."""

import threading
from dataclasses import dataclass

from imagegen.replicate import Listed, ReplicateClient, Since


@dataclass(eq=False)
class _Ask:
    since: Since
    listed: Listed | None = None


class ListReader:
    """Reads for one worker process, one list at a time.

    A slot gets a list that was read after it asked: an older one may lack its prediction. Slots
    that ask during a reading share the next one.
    """

    def __init__(self, client: ReplicateClient) -> None:
        self._client = client
        self._changed = threading.Condition()
        self._waiting: list[_Ask] = []
        self._is_reading = False

    def read(self, since: Since) -> Listed:
        """Return the list since that time or an earlier one, read by this thread or by another."""
        ask = _Ask(since)
        with self._changed:
            self._waiting.append(ask)
            self._changed.wait_for(lambda: ask.listed or not self._is_reading)
            if ask.listed:
                return ask.listed
            asks, self._waiting, self._is_reading = self._waiting, [], True
        try:
            listed = self._client.list(*(each.since for each in asks))
            for each in asks:
                each.listed = listed
            return listed
        finally:
            with self._changed:
                # After an exception, which only this thread gets, one of the others reads.
                self._waiting += [each for each in asks if not (each.listed or each is ask)]
                self._is_reading = False
                self._changed.notify_all()
