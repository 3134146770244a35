"""Settings: read from options and environment variables, checked, and turned into values."""

from imagegen.config.database_url import redacted_url, url_secrets
from imagegen.config.parsers import LOOPBACK, WrongValueError, past_moment, quoted
from imagegen.config.settings import (
    WITHOUT_MARKER,
    Problem,
    Settings,
    Spec,
    all_settings,
    read,
    secrets_in,
    unknown_variables,
)

__all__ = [
    "LOOPBACK",
    "WITHOUT_MARKER",
    "Problem",
    "Settings",
    "Spec",
    "WrongValueError",
    "all_settings",
    "past_moment",
    "quoted",
    "read",
    "redacted_url",
    "secrets_in",
    "unknown_variables",
    "url_secrets",
]
