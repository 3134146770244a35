"""The marker: the input of a model that carries a generation's seed, and comes back with it.

By it a prediction in Replicate's list is known again. Most models take a seed. Of those that take
none, some pass on a text that names the user: `user_id` of OpenAI's, for one.
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
        """Return the marker that `IMAGEGEN_MARKER_INPUT` names: `seed` and what ends in it is a
        whole number, and others are texts, if no `:integer` or `:text` after it says otherwise."""
        if setting is None:
            return None
        name, _, kind = setting.partition(":")
        return cls(name, kind == "text" if kind else not name.lower().endswith("seed"))

    def value(self, seed: int) -> int | str:
        """Return what the input is set to."""
        return f"imagegen-{seed}" if self.is_text else seed

    def seed_in(self, inputs: Mapping[str, Any]) -> object:
        """Return what the inputs of a prediction have for a seed, as their JSON has it."""
        value = inputs.get(self.name)
        if not self.is_text:
            return value
        match = TEXT.fullmatch(value) if isinstance(value, str) else None
        return int(match[1]) if match else None


SEED = Marker("seed")
