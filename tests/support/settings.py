"""Settings for tests: the defaults, but for what a test sets."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from imagegen.config import Settings, read

ENVIRONMENT = {"DATABASE_URL": "postgresql://127.0.0.1:1/none", "REPLICATE_API_TOKEN": "token"}


def load(environment: Mapping[str, str], options: Mapping[str, str | None]) -> Settings:
    """Return all settings, of which none may be missing or wrong."""
    values, problems = read(environment, options)
    assert not problems, problems
    return Settings(**values)


def settings(**changed: Any) -> Settings:
    """The default settings with these values, by field name. Nothing answers at their database."""
    return replace(load(ENVIRONMENT, {}), **changed)
