"""Every setting once: its name, environment variable, default, help and check.

A setting is given as an option (`--lease-seconds`) or as an environment variable
(`IMAGEGEN_LEASE_SECONDS`); the option wins. Values are checked here and nowhere else.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any
from urllib.parse import unquote, urlsplit

MODEL = re.compile(r"[a-z0-9][a-z0-9._-]*/[a-z0-9][a-z0-9._-]*(:[0-9a-f]{64})?", re.I)
VERSION = re.compile(r"[0-9a-f]{64}")
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class ConfigurationError(Exception):
    """Settings are missing or wrong; each line names one of them and the mend."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class WrongValueError(Exception):
    """A value does not pass its check; the message ends the sentence `NAME must be …`."""


def setting(
    variable: str,
    parse: Callable[[str], Any],
    help: str,  # noqa: A002 (click's word for it)
    default: str | None = None,
    *,
    optional: bool = False,
    secret: bool = False,
) -> Any:
    """A field of `Settings`. The default is text too: it passes the same check as a given value."""
    metadata = {"variable": variable, "parse": parse, "help": help, "default": default}
    return field(metadata=metadata | {"optional": optional, "secret": secret})


def text(value: str) -> str:
    return value.strip()


def seconds(*, least: float, most: float) -> Callable[[str], float]:
    def parse(value: str) -> float:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not least <= number <= most:
            raise WrongValueError(f"a number of seconds from {least:g} to {most:g}, not {value!r}")
        return number

    return parse


def whole(*, least: int, most: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise WrongValueError(f"a whole number from {least} to {most}, not {value!r}")
        return number

    return parse


def one_of(*choices: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value.strip().lower() not in choices:
            raise WrongValueError(f"one of {', '.join(choices)}, not {value!r}")
        return value.strip().lower()

    return parse


def prompt(value: str) -> str:
    if not value.strip():
        raise WrongValueError("a prompt, not blank")
    if len(value) > 1000:
        raise WrongValueError(f"a prompt of at most 1000 characters, not {len(value)}")
    return value


def postgres_url(value: str) -> str:
    """The value is never repeated in the message: it holds a password."""
    example = "a PostgreSQL URL such as postgresql://user:password@host:5432/database"
    try:
        parts = urlsplit(value.strip())
        parts.port  # noqa: B018 (raises where the port is not a number)
    except ValueError:
        raise WrongValueError(example) from None
    if parts.scheme not in {"postgresql", "postgres"}:
        raise WrongValueError(example)
    return value.strip()


def api_token(value: str) -> str:
    """Replicate's SDK prints a token with a line end or non-ASCII text in it: refused here."""
    token = value.strip()
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        raise WrongValueError("a Replicate API token: one word of ASCII characters")
    return token


def model_name(value: str) -> str:
    name = value.strip()
    if not (MODEL.fullmatch(name) or VERSION.fullmatch(name)):
        raise WrongValueError(
            f"owner/name, owner/name:version or a version of 64 hex digits, not {value!r}"
        )
    return name


def model_input(value: str) -> dict[str, Any]:
    try:
        parsed = json.loads(value)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise WrongValueError(
            """a JSON object such as {"aspect_ratio": "1:1", "output_format": "png"}"""
        )
    if taken := sorted({"prompt", "seed"} & parsed.keys()):
        raise WrongValueError(
            f"a JSON object without {' and '.join(taken)}: imagegen sets these itself"
        )
    return parsed


def api_url(value: str) -> str:
    """The API token travels there: https, or http on this machine alone (the sandbox)."""
    try:
        parts = urlsplit(value.strip())
        loopback = parts.hostname in LOOPBACK and (parts.port or True)
    except ValueError:
        raise WrongValueError(f"a URL, not {value!r}") from None
    if not (parts.hostname and (parts.scheme == "https" or (parts.scheme == "http" and loopback))):
        raise WrongValueError(f"an https URL (http only on localhost), not {value!r}")
    return value.strip().rstrip("/")


@dataclass(frozen=True, repr=False)
class Settings:
    database_url: str = setting(
        "DATABASE_URL", postgres_url, "PostgreSQL, as postgresql://user:password@host:port/name.",
        secret=True,
    )  # fmt: skip
    replicate_api_token: str = setting(
        "REPLICATE_API_TOKEN", api_token, "Replicate's API token.", secret=True
    )
    model: str = setting(
        "REPLICATE_MODEL_VERSION", model_name,
        "The model: owner/name, owner/name:version, or a version.",
        "black-forest-labs/flux-schnell",
    )  # fmt: skip
    model_input: dict[str, Any] = setting(
        "IMAGEGEN_MODEL_INPUT", model_input,
        "More inputs for the model, as a JSON object (aspect_ratio, output_format …).", "{}",
    )  # fmt: skip
    replicate_base_url: str = setting(
        "REPLICATE_BASE_URL", api_url, "Replicate's API, or a proxy of it.",
        "https://api.replicate.com",
    )  # fmt: skip
    fallback_prompt: str = setting(
        "FALLBACK_CENSORED_PROMPT", prompt,
        "Sent once in place of a prompt that Replicate refuses for its content.",
        "An abstract composition of soft flowing colours and light",
    )  # fmt: skip
    default_prompt: str | None = setting(
        "DEFAULT_PROMPT", prompt,
        "Sent for an author without a prompt; without it such a token fails.", optional=True,
    )  # fmt: skip
    procs: int = setting("IMAGEGEN_PROCS", whole(least=1, most=64), "Worker processes.", "2")
    slots: int = setting(
        "WORKER_BATCH_SIZE", whole(least=1, most=100), "Tokens at once in each worker.", "10"
    )
    poll_interval_seconds: float = setting(
        "POLL_INTERVAL_SECONDS", seconds(least=0.05, most=60),
        "How often a worker looks for tokens when nothing wakes it.", "1",
    )  # fmt: skip
    lease_seconds: float = setting(
        "IMAGEGEN_LEASE_SECONDS", seconds(least=1, most=600),
        "How long a claim holds without renewal; renewed three times as often.", "15",
    )  # fmt: skip
    settle_seconds: float = setting(
        "IMAGEGEN_SETTLE_SECONDS", seconds(least=1, most=1800),
        "How long Replicate's list is asked for a prediction that may have been made.", "60",
    )  # fmt: skip
    cancel_after_seconds: int = setting(
        "IMAGEGEN_CANCEL_AFTER_SECONDS", whole(least=5, most=1800),
        "Replicate ends a prediction that runs longer.", "300",
    )  # fmt: skip
    grace_seconds: float = setting(
        "IMAGEGEN_GRACE_SECONDS", seconds(least=0, most=3600),
        "How long a stop waits for work in flight before it hands over.", "20",
    )  # fmt: skip
    metrics_host: str = setting(
        "IMAGEGEN_METRICS_HOST", text, "Where /metrics, /healthz and /readyz listen.", "127.0.0.1"
    )
    metrics_port: int = setting(
        "IMAGEGEN_METRICS_PORT", whole(least=0, most=65535),
        "Their port; 0 takes a free one and logs it.", "9464",
    )  # fmt: skip
    log_format: str = setting(
        "IMAGEGEN_LOG_FORMAT", one_of("auto", "json", "text"),
        "auto: text on a terminal, JSON lines elsewhere.", "auto",
    )  # fmt: skip
    log_level: str = setting(
        "IMAGEGEN_LOG_LEVEL", one_of("debug", "info", "warning", "error"), "From what level.",
        "info",
    )  # fmt: skip

    @property
    def secrets(self) -> list[str]:
        """What must never be shown: the token, the URL with its password, the password alone."""
        return [self.replicate_api_token, *url_secrets(self.database_url)]


def all_settings() -> tuple[Field[Any], ...]:
    return fields(Settings)


def option_name(item: Field[Any]) -> str:
    return "--" + item.name.replace("_", "-")


def url_secrets(url: str) -> list[str]:
    """A database URL and the password in it, as written and decoded; query parameters too."""
    try:
        parts = urlsplit(url)
        queried = re.findall(r"(?:^|&)(?:ssl)?password=([^&]*)", parts.query)
        passwords = [parts.password or "", *queried]
    except ValueError:
        passwords = []
    return [url, *(form for word in passwords if word for form in (word, unquote(word)))]


def load(environment: Mapping[str, str], options: Mapping[str, str | None]) -> Settings:
    """All settings, from options by field name and from the environment.

    Raises ConfigurationError with one line for each that is missing or wrong.
    """
    values, wrong = read(environment, options, [item.name for item in all_settings()])
    if wrong:
        raise ConfigurationError(wrong)
    return Settings(**values)


def read(
    environment: Mapping[str, str], options: Mapping[str, str | None], names: list[str]
) -> tuple[dict[str, Any], list[str]]:
    """The values of the settings named, and a line for each that is missing or wrong."""
    values: dict[str, Any] = {}
    wrong: list[str] = []
    for item in all_settings():
        if item.name not in names:
            continue
        about = item.metadata
        given, said = options.get(item.name), option_name(item)
        if given is None:
            # An empty variable is a variable that was not set, as in an env file with `NAME=`.
            given, said = environment.get(about["variable"]) or about["default"], about["variable"]
        if given is None:
            values[item.name] = None
            if not about["optional"]:
                wrong.append(f"{said} is missing: {about['help']}")
            continue
        try:
            values[item.name] = about["parse"](given)
        except WrongValueError as must:
            wrong.append(f"{said} must be {must}")
    return values, wrong


assert all(item.default is MISSING for item in all_settings())  # noqa: S101 (defaults are text)
