"""Settings: every one once, from options and environment variables to values."""

from imagegen.config.database_url import SECRET_PARTS, parts_of, url_secrets
from imagegen.config.parsers import LOOPBACK, SECONDS_OF, WrongValueError, quoted, seconds
from imagegen.config.settings import (
    ConfigurationError,
    Settings,
    all_settings,
    given,
    load,
    misspelt,
    option_name,
    read,
    secrets_of,
)

__all__ = [
    "LOOPBACK",
    "SECONDS_OF",
    "SECRET_PARTS",
    "ConfigurationError",
    "Settings",
    "WrongValueError",
    "all_settings",
    "given",
    "load",
    "misspelt",
    "option_name",
    "parts_of",
    "quoted",
    "read",
    "seconds",
    "secrets_of",
    "url_secrets",
]
