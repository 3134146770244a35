"""All settings: the variable, option, default, help and parser of each.

A setting is given as an option (`--lease 20`) or as an environment variable
(`IMAGEGEN_LEASE_SECONDS`); the option wins. A secret may be in a file that another variable names
(`DATABASE_URL_FILE`). Values are checked here and nowhere else.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from imagegen import redaction
from imagegen.config import parsers, prices
from imagegen.config.database_url import check_url, url_secrets
from imagegen.config.kept_images import S3Location, image_url_base, images_target
from imagegen.config.secret_files import SecretFileError
from imagegen.config.spec import Environment, Options, Problem, Spec, setting

PAGE = ("auto", "yes", "no")
LOG_FORMATS = ("auto", "json", "text")
LOG_LEVELS = ("debug", "info", "warning", "error")
# The promise that holds if `marker_input` is None.
WITHOUT_MARKER = (
    "the model has no marker input: if an answer is lost, its prediction is found by model, prompt"
    " and time after five minutes; in rare cases an image is paid for twice"
)


@dataclass(frozen=True, repr=False)
class Settings:
    # A setting takes three lines, not ten.
    # fmt: off
    database_url: str = setting(Spec(
        "DATABASE_URL", check_url,
        "PostgreSQL, as postgresql://user:password@host:port/name.", secret=True))
    replicate_api_token: str = setting(Spec(
        "REPLICATE_API_TOKEN", parsers.api_token, "Replicate's API token.", secret=True))
    model: str = setting(Spec(
        "REPLICATE_MODEL_VERSION", parsers.model_name,
        "The model: owner/name, owner/name:version, a version, or deployments/owner/name.",
        "black-forest-labs/flux-schnell"))
    model_input: dict[str, Any] = setting(Spec(
        "IMAGEGEN_MODEL_INPUT", parsers.model_input,
        "More inputs for the model, as a JSON object (aspect_ratio, output_format …).", "{}"))
    marker_input: str | None = setting(Spec(
        "IMAGEGEN_MARKER_INPUT", parsers.marker_input,
        "The model's input that identifies a prediction: a seed, or a text such as user_id "
        "that the model passes on; none if it has neither.",
        "seed"))
    replicate_base_url: str = setting(Spec(
        "REPLICATE_BASE_URL", parsers.api_url,
        "Replicate's API, or a proxy of it, to which /v1 is added if there is none.",
        "https://api.replicate.com"))
    fallback_prompt: str = setting(Spec(
        "FALLBACK_CENSORED_PROMPT", parsers.prompt,
        "Sent once in place of a prompt that Replicate refuses for its content.",
        "An abstract composition of soft flowing colours and light"))
    content_policy_words: re.Pattern[str] | None = setting(Spec(
        "IMAGEGEN_CONTENT_POLICY_WORDS", parsers.error_pattern,
        "A regular expression: an error that it matches is a refusal for content.",
        optional=True))
    default_prompt: str | None = setting(Spec(
        "DEFAULT_PROMPT", parsers.prompt,
        "Sent for an author without a prompt; without it such a token fails.", optional=True))
    procs: int = setting(Spec(
        "IMAGEGEN_PROCS", parsers.whole(least=1, most=64), "Worker processes.", "2"))
    slots: int = setting(Spec(
        "WORKER_BATCH_SIZE", parsers.whole(least=1, most=100), "Tokens at once in each worker.",
        "10"))
    poll_interval_seconds: float = setting(Spec(
        "POLL_INTERVAL_SECONDS", parsers.seconds(least=0.05, most=60),
        "How often a worker looks for tokens when nothing wakes it.", "1"))
    lease_seconds: float = setting(Spec(
        "IMAGEGEN_LEASE_SECONDS", parsers.seconds(least=1, most=600),
        "How long a claim holds without renewal; renewed three times as often.", "15"))
    settle_seconds: float = setting(Spec(
        "IMAGEGEN_SETTLE_SECONDS", parsers.settle_seconds,
        "How long Replicate's list is asked for a prediction that may have been made; at least "
        "60 s.", "60"))
    cancel_after_seconds: int = setting(Spec(
        "IMAGEGEN_CANCEL_AFTER_SECONDS", parsers.whole_seconds(least=5, most=1800),
        "Replicate ends a prediction that runs longer.", "300"))
    replace_lost: bool = setting(Spec(
        "IMAGEGEN_REPLACE_LOST", parsers.yes_or_no,
        "Whether to pay again for an image that was paid for and lost at Replicate.", "no",
        choices=parsers.YES_OR_NO))
    give_up_after_seconds: float = setting(Spec(
        "IMAGEGEN_GIVE_UP_AFTER_SECONDS", parsers.seconds(least=1, most=31_536_000),
        "A token that Replicate has refused for so long fails.", "24h"))
    create_rate: int = setting(Spec(
        "IMAGEGEN_CREATE_RATE", parsers.whole(least=1, most=1_000_000),
        "Predictions a minute that the account may create, shared by this supervisor's workers.",
        "600"))
    poll_budget: int = setting(Spec(
        "IMAGEGEN_POLL_BUDGET", parsers.whole(least=1, most=1_000_000),
        "Other requests a minute that the account may send, shared by the same.", "3000"))
    daily_limit: int | None = setting(Spec(
        "IMAGEGEN_DAILY_LIMIT", parsers.whole(least=0, most=1_000_000_000),
        "Predictions in any 24 hours, over all hosts; then nothing is claimed.", optional=True))
    daily_budget: Decimal | None = setting(Spec(
        "IMAGEGEN_DAILY_BUDGET", prices.dollars,
        "Dollars in any 24 hours, over all hosts; then nothing is claimed. It needs a price. A "
        "request in flight counts with the most that it may cost.", optional=True))
    price: prices.Prices | None = setting(Spec(
        "IMAGEGEN_PRICE", prices.prices,
        "What Replicate bills for an image of this model, for `imagegen spend` and the metrics; or "
        "prices by model as JSON, by the image, run, second or megapixel.",
        optional=True))
    keep_images: Path | S3Location | None = setting(Spec(
        "IMAGEGEN_KEEP_IMAGES", images_target,
        "A folder, or s3://bucket/prefix, that gets a copy of each image; Replicate deletes its "
        "own after an hour.",
        optional=True))
    image_url_base: str | None = setting(Spec(
        "IMAGEGEN_IMAGE_URL_BASE", image_url_base,
        "The base URL of the copies: image_url becomes this URL and the copy's name.",
        optional=True))
    grace_seconds: float = setting(Spec(
        "IMAGEGEN_GRACE_SECONDS", parsers.seconds(least=0, most=3600),
        "How long a stop waits for work in flight before it hands over.", "20"))
    watchdog_seconds: float = setting(Spec(
        "IMAGEGEN_WATCHDOG_SECONDS", parsers.seconds(least=5, most=3600),
        "A worker whose main loop stands still for so long is replaced.", "30"))
    metrics_host: str = setting(Spec(
        "IMAGEGEN_METRICS_HOST", str.strip,
        "Where the status page, /metrics, /healthz and /readyz listen.", "127.0.0.1"))
    metrics_port: int = setting(Spec(
        "IMAGEGEN_METRICS_PORT", parsers.whole(least=0, most=65535),
        "Their port; 0 takes a free one and logs it.", "9464"))
    page: str = setting(Spec(
        "IMAGEGEN_PAGE", parsers.one_of(*PAGE),
        "Whether the status page is served; auto: on loopback, or with a password.", "auto",
        choices=PAGE))
    page_password: str | None = setting(Spec(
        "IMAGEGEN_PAGE_PASSWORD", parsers.page_password,
        "The status page asks for this password, with any user.", optional=True, secret=True))
    images_host: str = setting(Spec(
        "IMAGEGEN_IMAGES_HOST", str.strip,
        "Where the copies are served as /images/NAME, if they have a port.", "127.0.0.1"))
    images_port: int | None = setting(Spec(
        "IMAGEGEN_IMAGES_PORT", parsers.whole(least=0, most=65535),
        "Their port; 0 takes a free one and logs it. Not set: they are not served.",
        optional=True))
    log_format: str = setting(Spec(
        "IMAGEGEN_LOG_FORMAT", parsers.one_of(*LOG_FORMATS),
        "auto: text on a terminal, JSON lines elsewhere.", "auto", choices=LOG_FORMATS))
    log_level: str = setting(Spec(
        "IMAGEGEN_LOG_LEVEL", parsers.one_of(*LOG_LEVELS), "From what level.", "info",
        choices=LOG_LEVELS))
    # fmt: on

    @property
    def secrets(self) -> list[str]:
        """The texts that must never be shown: the API token, the database URL, the passwords."""
        return secrets_in(vars(self))

    @property
    def configured_prompts(self) -> dict[str, str]:
        """The prompts that may be sent in place of an author's own, by variable."""
        default = {} if self.default_prompt is None else {"DEFAULT_PROMPT": self.default_prompt}
        return {"FALLBACK_CENSORED_PROMPT": self.fallback_prompt, **default}


def secrets_in(values: Mapping[str, Any]) -> list[str]:
    """Return the texts that must never be shown. Settings may be missing from `values`."""
    token, url = values.get("replicate_api_token"), values.get("database_url")
    password = values.get("page_password")
    return [
        *(redaction.patterns(password) if password else []),
        *(redaction.patterns(token, may_be_a_word=False) if token else []),
        *(url_secrets(url) if url else []),
    ]


@cache
def all_settings() -> tuple[Spec[Any], ...]:
    """Return the specs of all settings, in the order in which they are shown."""
    return tuple(replace(item.metadata["spec"], name=item.name) for item in fields(Settings))


def read(
    environment: Environment, options: Options, names: Collection[str] = ()
) -> tuple[dict[str, Any], list[Problem]]:
    """Return the values of these settings (of all, without names), and their problems.

    A missing setting has the value None. A wrong one is not among the values.
    """
    values: dict[str, Any] = {}
    messages: dict[str, str] = {}
    in_files: dict[str, str] = {}  # the variables of secrets in files
    specs = [spec for spec in all_settings() if not names or spec.name in names]
    for spec in specs:
        text: str | None = ""
        try:
            text, source = spec.lookup(environment, options)
            if source == "file":
                in_files[spec.name] = str(spec.file_variable)
            values[spec.name] = None if text is None else spec.parse(text)
        except SecretFileError as error:
            in_files[spec.name] = str(spec.file_variable)
            messages[spec.name] = str(error)
        except parsers.WrongValueError as error:
            messages[spec.name] = f"must {'hold' if spec.name in in_files else 'be'} {error}"
        if text is None and not spec.optional:
            messages[spec.name] = f"is missing: {spec.help}"
    for name, message in _conflicts(values).items():
        del values[name]
        messages[name] = message
    return values, [
        Problem(
            spec.name,
            in_files.get(spec.name, spec.variable)
            if options.get(spec.name) is None
            else spec.option,
            messages[spec.name],
        )
        for spec in specs
        if spec.name in messages
    ]


def _conflicts(values: Mapping[str, Any]) -> dict[str, str]:
    """Return messages about settings that conflict with others, by name. Any may be missing."""
    found: dict[str, str] = {}
    marker_name = (values.get("marker_input") or "").partition(":")[0]
    if taken := values.get("model_input", {}).keys() & {"prompt", marker_name}:
        names_taken = " and ".join(sorted(taken))
        found["model_input"] = (
            f"must be a JSON object without {names_taken}: imagegen sets these itself"
        )
    if problem := prices.budget_problem(values):
        found["daily_budget"] = problem
    if "keep_images" not in values:
        return found
    copies = values["keep_images"]
    if values.get("image_url_base") is not None and copies is None:
        found["image_url_base"] = "needs copies: set IMAGEGEN_KEEP_IMAGES too, or unset it"
    if values.get("images_port") is not None and not isinstance(copies, Path):
        found["images_port"] = (
            "has no copies to serve: set IMAGEGEN_KEEP_IMAGES to a folder, or unset it"
        )
    return found
