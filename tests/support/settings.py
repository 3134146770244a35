"""Settings for tests: the defaults, but for what a test sets, and what is wrong with them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from imagegen.config import Settings, read

ENVIRONMENT = {"DATABASE_URL": "postgresql://127.0.0.1:1/none", "REPLICATE_API_TOKEN": "token"}
ENOUGH = {
    "DATABASE_URL": "postgresql://user:pass-word@host:5432/tokens",
    "REPLICATE_API_TOKEN": "r8_secret",
}


def load(environment: Mapping[str, str], options: Mapping[str, str | None]) -> Settings:
    """Return all settings, of which none may be missing or wrong."""
    values, problems = read(environment, options)
    assert not problems, problems
    return Settings(**values)


def settings(**changed: Any) -> Settings:
    """The default settings with these values, by field name. Nothing answers at their database."""
    return replace(load(ENVIRONMENT, {}), **changed)


def with_environment(**more: str) -> Settings:
    """The settings of an environment that has what must be given, and these variables."""
    return load(ENOUGH | more, {})


def complaints(environment: Mapping[str, str], **options: str) -> list[str]:
    """The lines that the user sees."""
    _, problems = read(environment, options)
    return [str(problem) for problem in problems]
