"""Whether the model returns its marker, as far as a supervisor's workers have seen."""

from imagegen.config import Settings
from imagegen.replicate import Number, SharedNumbers


class MarkerSeen:
    """Whether predictions come back with a marker. A supervisor's workers share it, also those that
    are started later."""

    _missing = Number(0)  # 1: a prediction came back without it

    def __init__(self, settings: Settings) -> None:
        self.numbers = SharedNumbers(1)
        self._is_sent = settings.marker_input is not None

    @property
    def is_returned(self) -> bool:
        return self._is_sent and not self._missing

    def note_missing(self) -> None:
        self._missing = 1.0
