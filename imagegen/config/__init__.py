"""Settings: reads them from options and environment variables, and checks them."""

from imagegen.config.database_url import redacted_url, url_secrets
from imagegen.config.kept_images import S3Location, copy_url, s3_client, url_below
from imagegen.config.parsers import (
    LOOPBACK,
    WrongValueError,
    age_seconds,
    past_moment,
    quoted,
    seconds,
)
from imagegen.config.prices import (
    EXACT,
    Price,
    Prices,
    Unit,
    Usage,
    exact,
    longest_cost,
    megapixels,
)
from imagegen.config.secret_files import SecretFileError
from imagegen.config.settings import (
    WITHOUT_MARKER,
    Settings,
    all_settings,
    read,
    secrets_in,
)
from imagegen.config.spec import Options, Problem, Spec
from imagegen.config.unknown import unknown_variables

__all__ = [
    "EXACT",
    "LOOPBACK",
    "WITHOUT_MARKER",
    "Options",
    "Price",
    "Prices",
    "Problem",
    "S3Location",
    "SecretFileError",
    "Settings",
    "Spec",
    "Unit",
    "Usage",
    "WrongValueError",
    "age_seconds",
    "all_settings",
    "copy_url",
    "exact",
    "longest_cost",
    "megapixels",
    "past_moment",
    "quoted",
    "read",
    "redacted_url",
    "s3_client",
    "seconds",
    "secrets_in",
    "unknown_variables",
    "url_below",
    "url_secrets",
]
