"""How predictions end: with an image, unless there is a fault for their prompt."""

import threading
from dataclasses import dataclass
from typing import Self

NSFW = "All generated images contained NSFW content. Try running it again with a different prompt."


@dataclass(frozen=True, kw_only=True)
class PredictionScript:
    """The course of a prediction, decided when it is created."""

    latency_seconds: float | None = None  # from created to completed; None: the sandbox's
    starts_after_seconds: float | None = None  # None: after the time that a warm model takes
    status: str = "succeeded"  # the last one; if it is not terminal, it lasts until the deadline
    error: str | None = None
    hidden_seconds: float = 0.0  # until then neither get nor list show it
    logs: str = ""  # what the model logs besides its inputs

    def output_of(self, urls: list[str]) -> object:
        """Return the output of a prediction that succeeded with these images."""
        return urls


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A script for the predictions whose prompt contains a text."""

    prompt: str
    script: PredictionScript
    times: int | None = None  # how many predictions; None: all

    @classmethod
    def fails(cls, prompt: str, *, error: str, times: int | None = None) -> Self:
        script = PredictionScript(status="failed", error=error)
        return cls(prompt=prompt, script=script, times=times)

    @classmethod
    def censors(cls, prompt: str) -> Self:
        return cls.fails(prompt, error=NSFW)


class Faults:
    """The faults in force. Of several for one prompt, the first applies."""

    def __init__(self, *faults: Fault) -> None:
        self._lock = threading.Lock()
        self._faults = faults
        self._taken = [0] * len(faults)

    def take_script(self, prompt: str) -> PredictionScript:
        """Return the script for a new prediction, and count it."""
        with self._lock:
            for index, fault in enumerate(self._faults):
                is_used_up = fault.times is not None and self._taken[index] >= fault.times
                if fault.prompt in prompt and not is_used_up:
                    self._taken[index] += 1
                    return fault.script
            return PredictionScript()
