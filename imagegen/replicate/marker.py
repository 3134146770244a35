"""The marker: the input of a model that carries a generation's seed.

Replicate's list shows the inputs of each prediction, so the marker shows which prediction is ours.
Most models take a seed. Of the others, some take a text that names the user: `user_id` of OpenAI's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TEXT = re.compile(r"imagegen-(\d{1,10})")


@dataclass(frozen=True)
class Marker:
    """The input `name` of a model, a whole number or a text."""

    name: str
    is_text: bool = False

    @classmethod
    def of_setting(cls, setting: str | None) -> "Marker | None":
        """Return the marker that `IMAGEGEN_MARKER_INPUT` names. It is a whole number if its name
        ends in `seed`, else a text; `:integer` or `:text` after the name says it explicitly."""
        if setting is None:
            return None
        name, _, kind = setting.partition(":")
        return cls(name, kind == "text" if kind else not name.lower().endswith("seed"))

    def value(self, seed: int) -> int | str:
        """Return the value of the input."""
        return f"imagegen-{seed}" if self.is_text else seed

    def seed_in(self, inputs: Mapping[str, Any]) -> object:
        """Return the seed in the inputs of a prediction, as their JSON has it; None if none is."""
        value = inputs.get(self.name)
        if not self.is_text:
            return value
        match = TEXT.fullmatch(value) if isinstance(value, str) else None
        return int(match[1]) if match else None


SEED = Marker("seed")
