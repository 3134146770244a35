"""Settings for tests: the defaults, but for what a test sets."""

from dataclasses import replace
from typing import Any

from imagegen.config import Settings, load

ENVIRONMENT = {"DATABASE_URL": "postgresql://127.0.0.1:1/none", "REPLICATE_API_TOKEN": "token"}


def settings(**changed: Any) -> Settings:
    """The default settings with these values, by field name. Nothing answers at their database."""
    return replace(load(ENVIRONMENT, {}), **changed)
