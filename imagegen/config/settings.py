"""Every setting once: its name, environment variable, default, help and check.

A setting is given as an option (`--lease 20`) or as an environment variable
(`IMAGEGEN_LEASE_SECONDS`); the option wins. Values are checked here and nowhere else.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from imagegen import redaction
from imagegen.config import parsers
from imagegen.config.database_url import check_url, url_secrets

LOG_FORMATS = ("auto", "json", "text")
LOG_LEVELS = ("debug", "info", "warning", "error")
PREFIX = "IMAGEGEN_"
# Of the tests and drills; of a Kubernetes service or a Docker link whose name begins as ours.
NO_SETTINGS = re.compile(
    r"CRASH_AT|DRILL_\w+|TEST_\w+|(\w+_)?SERVICE_(HOST|PORT(_\w+)?)|(\w+_)?PORT_\d+_\w+"
)
LINK = re.compile(r"(tcp|udp|sctp)://")  # the value of their IMAGEGEN_PORT


class ConfigurationError(Exception):
    """Settings are missing or wrong; each line names one of them and the mend."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def setting(
    variable: str,
    parse: Callable[[str], Any],
    help: str,  # noqa: A002 (click's word for it)
    default: str | None = None,
    *,
    optional: bool = False,
    secret: bool = False,
    choices: tuple[str, ...] = (),
) -> Any:
    """A field of `Settings`. The default is text too: it passes the same check as a given value.
    The choices are what a shell offers."""
    metadata = {"variable": variable, "parse": parse, "help": help, "default": default}
    kind = {"optional": optional, "secret": secret, "choices": choices}
    return field(metadata=metadata | kind)


@dataclass(frozen=True, repr=False)
class Settings:
    database_url: str = setting(
        "DATABASE_URL", check_url, "PostgreSQL, as postgresql://user:password@host:port/name.",
        secret=True,
    )  # fmt: skip
    replicate_api_token: str = setting(
        "REPLICATE_API_TOKEN", parsers.api_token, "Replicate's API token.", secret=True
    )
    model: str = setting(
        "REPLICATE_MODEL_VERSION", parsers.model_name,
        "The model: owner/name, owner/name:version, or a version.",
        "black-forest-labs/flux-schnell",
    )  # fmt: skip
    model_input: dict[str, Any] = setting(
        "IMAGEGEN_MODEL_INPUT", parsers.model_input,
        "More inputs for the model, as a JSON object (aspect_ratio, output_format …).", "{}",
    )  # fmt: skip
    marker_input: str | None = setting(
        "IMAGEGEN_MARKER_INPUT", parsers.input_name,
        "The model's input of a whole number, by which a prediction is known again, or none.",
        "seed",
    )  # fmt: skip
    replicate_base_url: str = setting(
        "REPLICATE_BASE_URL", parsers.api_url, "Replicate's API, or a proxy of it.",
        "https://api.replicate.com",
    )  # fmt: skip
    fallback_prompt: str = setting(
        "FALLBACK_CENSORED_PROMPT", parsers.prompt,
        "Sent once in place of a prompt that Replicate refuses for its content.",
        "An abstract composition of soft flowing colours and light",
    )  # fmt: skip
    default_prompt: str | None = setting(
        "DEFAULT_PROMPT", parsers.prompt,
        "Sent for an author without a prompt; without it such a token fails.", optional=True,
    )  # fmt: skip
    procs: int = setting(
        "IMAGEGEN_PROCS", parsers.whole(least=1, most=64), "Worker processes.", "2"
    )
    slots: int = setting(
        "WORKER_BATCH_SIZE",
        parsers.whole(least=1, most=100),
        "Tokens at once in each worker.",
        "10",
    )
    poll_interval_seconds: float = setting(
        "POLL_INTERVAL_SECONDS", parsers.seconds(least=0.05, most=60),
        "How often a worker looks for tokens when nothing wakes it.", "1",
    )  # fmt: skip
    lease_seconds: float = setting(
        "IMAGEGEN_LEASE_SECONDS", parsers.seconds(least=1, most=600),
        "How long a claim holds without renewal; renewed three times as often.", "15",
    )  # fmt: skip
    settle_seconds: float = setting(
        "IMAGEGEN_SETTLE_SECONDS", parsers.seconds(least=1, most=1800),
        "How long Replicate's list is asked for a prediction that may have been made.", "60",
    )  # fmt: skip
    cancel_after_seconds: int = setting(
        "IMAGEGEN_CANCEL_AFTER_SECONDS", parsers.whole_seconds(least=5, most=1800),
        "Replicate ends a prediction that runs longer.", "300",
    )  # fmt: skip
    replace_lost: bool = setting(
        "IMAGEGEN_REPLACE_LOST", parsers.yes_or_no,
        "Whether to pay again for an image that was paid for and lost at Replicate.", "no",
        choices=parsers.YES_OR_NO,
    )  # fmt: skip
    give_up_after_seconds: float = setting(
        "IMAGEGEN_GIVE_UP_AFTER_SECONDS", parsers.seconds(least=1, most=31_536_000),
        "A token that Replicate has refused for so long fails.", "24h",
    )  # fmt: skip
    create_rate: int = setting(
        "IMAGEGEN_CREATE_RATE", parsers.whole(least=1, most=1_000_000),
        "Predictions a minute that the account may create, shared by this supervisor's workers.",
        "600",
    )  # fmt: skip
    poll_budget: int = setting(
        "IMAGEGEN_POLL_BUDGET", parsers.whole(least=1, most=1_000_000),
        "Other requests a minute that the account may send, shared by the same.", "3000",
    )  # fmt: skip
    daily_limit: int | None = setting(
        "IMAGEGEN_DAILY_LIMIT", parsers.whole(least=0, most=1_000_000_000),
        "Predictions in any 24 hours, over all hosts; then nothing is claimed.", optional=True,
    )  # fmt: skip
    price: float | None = setting(
        "IMAGEGEN_PRICE", parsers.amount,
        "What Replicate bills for an image of this model, for `imagegen spend` and the metrics.",
        optional=True,
    )  # fmt: skip
    keep_images: Path | None = setting(
        "IMAGEGEN_KEEP_IMAGES", parsers.folder,
        "A folder that gets a copy of each image; Replicate deletes its own after an hour.",
        optional=True,
    )  # fmt: skip
    grace_seconds: float = setting(
        "IMAGEGEN_GRACE_SECONDS", parsers.seconds(least=0, most=3600),
        "How long a stop waits for work in flight before it hands over.", "20",
    )  # fmt: skip
    watchdog_seconds: float = setting(
        "IMAGEGEN_WATCHDOG_SECONDS", parsers.seconds(least=5, most=3600),
        "A worker whose main loop stands still for so long is replaced.", "30",
    )  # fmt: skip
    metrics_host: str = setting(
        "IMAGEGEN_METRICS_HOST",
        parsers.text,
        "Where the status page, /metrics, /healthz and /readyz listen.",
        "127.0.0.1",
    )
    metrics_port: int = setting(
        "IMAGEGEN_METRICS_PORT", parsers.whole(least=0, most=65535),
        "Their port; 0 takes a free one and logs it.", "9464",
    )  # fmt: skip
    log_format: str = setting(
        "IMAGEGEN_LOG_FORMAT", parsers.one_of(*LOG_FORMATS),
        "auto: text on a terminal, JSON lines elsewhere.", "auto", choices=LOG_FORMATS,
    )  # fmt: skip
    log_level: str = setting(
        "IMAGEGEN_LOG_LEVEL", parsers.one_of(*LOG_LEVELS),
        "From what level.", "info", choices=LOG_LEVELS,
    )  # fmt: skip

    @property
    def secrets(self) -> list[str]:
        """What must never be shown: the token, the URL with its password, the password alone."""
        return secrets_of(self.replicate_api_token, self.database_url)

    @property
    def fixed_prompts(self) -> dict[str, str]:
        """What is sent where an author's own prompt cannot be, by variable."""
        found = {
            "FALLBACK_CENSORED_PROMPT": self.fallback_prompt,
            "DEFAULT_PROMPT": self.default_prompt,
        }
        return {variable: prompt for variable, prompt in found.items() if prompt is not None}


def secrets_of(api_token: str | None, database_url: str | None) -> list[str]:
    """The same of settings that may be missing."""
    return [
        *(redaction.patterns(api_token, may_be_a_word=False) if api_token else []),
        *(url_secrets(database_url) if database_url else []),
    ]


def all_settings() -> tuple[Field[Any], ...]:
    return fields(Settings)


def option_name(item: Field[Any]) -> str:
    return "--" + item.name.removesuffix("_seconds").replace("_", "-")


def given(
    item: Field[Any], environment: Mapping[str, str], options: Mapping[str, str | None]
) -> tuple[str | None, str]:
    """The text of a setting, where there is one, and where it comes from."""
    if (text := options.get(item.name)) is not None:
        return text, "option"
    # An empty variable is a variable that was not set, as in an env file with `NAME=`.
    if text := environment.get(item.metadata["variable"]):
        return text, "environment"
    return item.metadata["default"], "default"


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
    wrong: dict[str, str] = {}
    items = [item for item in all_settings() if item.name in names]
    for item in items:
        about = item.metadata
        text, _ = given(item, environment, options)
        if text is None:
            values[item.name] = None
            if not about["optional"]:
                wrong[item.name] = f"is missing: {about['help']}"
            continue
        try:
            values[item.name] = about["parse"](text)
        except parsers.WrongValueError as must:
            wrong[item.name] = f"must be {must}"
    try:
        parsers.leave_free(values.get("model_input", {}), values.get("marker_input"))
    except parsers.WrongValueError as must:
        del values["model_input"]
        wrong["model_input"] = f"must be {must}"
    return values, [
        f"{_as_given(item, environment, options)} {wrong[item.name]}"
        for item in items
        if item.name in wrong
    ]


def _as_given(
    item: Field[Any], environment: Mapping[str, str], options: Mapping[str, str | None]
) -> str:
    """A setting by the name under which its user knows it."""
    _, source = given(item, environment, options)
    return option_name(item) if source == "option" else str(item.metadata["variable"])


def misspelt(environment: Mapping[str, str]) -> list[str]:
    """A line for each variable that is named as a setting and is none, with the nearest one."""
    known = {item.metadata["variable"] for item in all_settings()}
    return [
        f"{variable} is no setting: {_meant(variable)}"
        for variable, text in sorted(environment.items())
        if variable.startswith(PREFIX) and text and variable not in known
        if not NO_SETTINGS.fullmatch(variable.removeprefix(PREFIX)) and not LINK.match(text)
    ]


def _meant(variable: str) -> str:
    """Options are remembered as well: IMAGEGEN_SLOTS is WORKER_BATCH_SIZE, or --slots."""
    names: dict[str, str] = {}
    for item in all_settings():
        named = item.metadata["variable"]
        option = option_name(item).removeprefix("--").replace("-", "_").upper()
        names |= {named.removeprefix(PREFIX): named, option: named}
    near = get_close_matches(variable.removeprefix(PREFIX).upper(), names, n=1)
    return f"did you mean {names[near[0]]}?" if near else "see `imagegen config`"


assert all(item.default is MISSING for item in all_settings())  # noqa: S101 (defaults are text)
