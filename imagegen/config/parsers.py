"""Parsers of settings: each turns a text into a value, or raises WrongValueError.

No message repeats a secret.
"""

import json
import os
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from imagegen.config import prompts
from imagegen.failures import LEAST_SETTLE_SECONDS

MODEL = re.compile(
    r"(?!deployments/)[a-z0-9][a-z0-9._-]*/[a-z0-9][a-z0-9._-]*(:[0-9a-f]{64})?", re.I
)
DEPLOYMENT = re.compile(r"deployments/[a-z0-9][a-z0-9._-]*/[a-z0-9][a-z0-9._-]*", re.I)
VERSION = re.compile(r"[0-9a-f]{64}")
UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
AGE_SECONDS = UNIT_SECONDS | {"w": 7 * 86_400, "y": 365 * 86_400}
YES_OR_NO = ("yes", "no")
MOST_SETTLE_SECONDS = 1800.0
MAX_AMOUNT = 1_000_000.0
MAX_AGE_SECONDS = 36_500 * 86_400.0  # a century
PLAIN_URL = re.compile(r"[!\"$->A-~]+")  # ASCII without @, ? and #
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
# A token of Replicate begins with r8_. A URL has its password before the @.
SECRET = re.compile(r"r8_|://.*@")
LEAST_PASSWORD_CHARACTERS = 8
QUOTED_CHARACTERS = 60  # of a value that a message repeats
# An escape or a class of characters, in which * and + do not repeat.
ESCAPED = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
REPEAT = re.compile(r"[*+]|\{\d*,\d*\}")
# Python's patterns try every way to divide a text among repeats, and have no time limit. On 500
# characters two repeats take 0.2 s, three take minutes, and a repeated group takes years.
MOST_REPEATS = 2
BACKREFERENCE = re.compile(r"\\[1-9]|\(\?P=")
# A pattern that matches this text matches too much: probably every error.
ANY_ERROR = "Internal error. Please try again!"


class WrongValueError(Exception):
    """The text of a setting is wrong. The message ends the sentence `NAME must be …`."""


def quoted(value: str) -> str:
    """Return a wrong value as messages show it: shortened, or hidden if it may be a secret."""
    if SECRET.search(value):
        return "what looks like a token or a password"
    return repr(value if len(value) <= QUOTED_CHARACTERS else f"{value[:QUOTED_CHARACTERS]}…")


def seconds(*, least: float, most: float) -> Callable[[str], float]:
    """Return a parser of durations such as 90, 90s, 1.5m, 24h or 7d."""

    def parse(value: str) -> float:
        number, unit = value.strip(), 1
        if number[-1:] in UNIT_SECONDS:
            number, unit = number[:-1], UNIT_SECONDS[number[-1:]]
        with suppress(ValueError):
            if least <= (found := float(number) * unit) <= most:
                return found
        limits = f"from {_duration(least)} to {_duration(most)}"
        raise WrongValueError(f"a duration {limits}, not {quoted(value)}")

    return parse


def settle_seconds(value: str) -> float:
    """Return a settle time that keeps law 2. Tests may have a shorter one."""
    if for_tests := os.environ.get("IMAGEGEN_TEST_SETTLE_SECONDS"):
        return float(for_tests)
    try:
        return seconds(least=LEAST_SETTLE_SECONDS, most=MOST_SETTLE_SECONDS)(value)
    except WrongValueError as error:
        why = "in less, a request that was given up may still arrive"
        raise WrongValueError(f"{error}: {why}") from None


def whole_seconds(*, least: int, most: int) -> Callable[[str], int]:
    """Return a parser of durations in whole seconds."""

    def parse(value: str) -> int:
        found = seconds(least=least, most=most)(value)
        if not found.is_integer():
            raise WrongValueError(f"whole seconds, not {quoted(value)}")
        return int(found)

    return parse


def _duration(seconds: float) -> str:
    """Return a duration in its largest unit without a fraction: 0.05s, 90s, 10m."""
    for unit, length in reversed(UNIT_SECONDS.items()):
        if seconds and seconds % length == 0:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"


def past_moment(value: str) -> datetime:
    """Return the time that was a duration ago, or an ISO date or time (UTC by default). Raises
    WrongValueError."""
    with suppress(ValueError, OverflowError):
        date = datetime.fromisoformat(value)
        return date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC)
    # Here a unit is required: 2026 would otherwise be half an hour.
    if value.strip()[-1:] in UNIT_SECONDS:
        with suppress(WrongValueError):
            age_seconds = seconds(least=0, most=MAX_AGE_SECONDS)(value)
            return datetime.now(UTC) - timedelta(seconds=age_seconds)
    raise WrongValueError(
        f"a duration such as 24h or 30d, or a date such as 2026-11-01, not {quoted(value)}"
    )


def age_seconds(value: str, *, least: float) -> float:
    """Return the seconds of an age such as 1y, 26w or 90d. The unit is required."""
    number, unit = value.strip()[:-1], value.strip()[-1:].lower()
    with suppress(ValueError, KeyError):
        if least <= (found := float(number) * AGE_SECONDS[unit]) <= MAX_AGE_SECONDS:
            return found
    raise WrongValueError(
        f"an age such as 1y or 90d, at least {least / 3600:g}h, not {quoted(value)}"
    )


def amount(value: str) -> float:
    with suppress(ValueError):
        if 0 <= (number := float(value)) < MAX_AMOUNT:
            return number
    raise WrongValueError(f"an amount of money such as 0.003, not {quoted(value)}")


def folder(value: str) -> Path:
    """Return a writable folder. It must exist: a typing mistake must not make a new one."""
    path = Path(value).expanduser().absolute()  # of an empty text, the working directory
    if not value or not path.is_dir() or not os.access(path, os.W_OK | os.X_OK):
        raise WrongValueError(f"a folder that is there and can be written to, not {quoted(value)}")
    return path


def whole(*, least: int, most: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        with suppress(ValueError):
            if least <= (number := int(value)) <= most:
                return number
        raise WrongValueError(f"a whole number from {least} to {most}, not {quoted(value)}")

    return parse


def one_of(*choices: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if (choice := value.strip().lower()) in choices:
            return choice
        raise WrongValueError(f"one of {', '.join(choices)}, not {quoted(value)}")

    return parse


def yes_or_no(value: str) -> bool:
    return one_of(*YES_OR_NO)(value) == "yes"


def marker_input(value: str) -> str | None:
    """Return the name of an input of the model, perhaps with its type, or None for the word none.
    Raises WrongValueError."""
    name = value.strip()
    if not re.fullmatch(r"(?!prompt\b)[A-Za-z_]\w*(:integer|:text)?", name, re.ASCII):
        raise WrongValueError(
            f"the name of an input such as seed or user_id, or none, not {quoted(value)}"
        )
    return None if name == "none" else name


def prompt(value: str) -> str:
    try:
        return prompts.clean(value, None)
    except prompts.InvalidPromptError:
        most = prompts.MAX_CHARACTERS
        found = str(len(value)) if len(value) > most else "a blank one"
        raise WrongValueError(f"a prompt of 1 to {most} characters, not {found}") from None


def error_pattern(value: str) -> re.Pattern[str]:
    """Return a pattern for errors, which ignores case. Raises WrongValueError if it could take long
    or match everything."""
    must_be = "a regular expression such as `blocked by acme|code 77`"
    try:
        pattern = re.compile(value, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        raise WrongValueError(f"{must_be}, not {quoted(value)}: {error}") from None
    plain = ESCAPED.sub("x", value)
    branches = [plain] if "(" in plain else plain.split("|")
    if re.search(r"\)[*+{]", plain) or BACKREFERENCE.search(value):
        raise WrongValueError(f"{must_be}, without a group that is repeated, not {quoted(value)}")
    if any(len(REPEAT.findall(branch)) > MOST_REPEATS for branch in branches):
        raise WrongValueError(
            f"{must_be}, with at most {MOST_REPEATS} of *, + and {{}} in it, not {quoted(value)}"
        )
    if pattern.search("") or pattern.search(ANY_ERROR):
        raise WrongValueError(
            f"{must_be} that does not match every error, as {quoted(value)} does:"
            f" it matches {ANY_ERROR!r}"
        )
    return pattern


def api_token(value: str) -> str:
    """Return one word of ASCII. Replicate's SDK would print any other token in an error."""
    token = value.strip()
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        raise WrongValueError("a Replicate API token: one word of ASCII characters")
    return token


def page_password(value: str) -> str:
    """Return a password that is long enough, and that a browser can send."""
    if len(value) < LEAST_PASSWORD_CHARACTERS or not value.isprintable():
        raise WrongValueError(
            f"a password of at least {LEAST_PASSWORD_CHARACTERS} printable characters"
        )
    return value


def model_name(value: str) -> str:
    name = value.strip()
    if not any(shape.fullmatch(name) for shape in (MODEL, DEPLOYMENT, VERSION)):
        raise WrongValueError(
            "owner/name, owner/name:version, a version of 64 hex digits or deployments/owner/name,"
            f" not {quoted(value)}"
        )
    return name


def model_input(value: str) -> dict[str, Any]:
    with suppress(ValueError, RecursionError):
        parsed = json.loads(value)
        # It may hold text that cannot be sent, or NaN, which is no JSON.
        json.dumps(parsed, ensure_ascii=False, allow_nan=False).encode()
        if isinstance(parsed, dict):
            return parsed
    raise WrongValueError(
        """a JSON object such as {"aspect_ratio": "1:1", "output_format": "png"}"""
    )


def api_url(value: str) -> str:
    """Return an https URL, because the API token is sent to it; on this machine it may be http."""
    url = value.strip()
    with suppress(ValueError):
        parts = urlsplit(url)
        parts.port  # noqa: B018 (raises ValueError if it is no port)
        schemes = {"https", "http"} if parts.hostname in LOOPBACK else {"https"}
        if parts.hostname and parts.scheme in schemes and PLAIN_URL.fullmatch(url):
            return url.rstrip("/")
    raise WrongValueError("an https URL (http only on localhost) without a user, query or fragment")
