"""What the text of a setting must be, and the value that it becomes.

Each check raises WrongValueError otherwise. No message repeats a secret.
"""

import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from imagegen import prompts

MODEL = re.compile(r"[a-z0-9][a-z0-9._-]*/[a-z0-9][a-z0-9._-]*(:[0-9a-f]{64})?", re.I)
VERSION = re.compile(r"[0-9a-f]{64}")
SECONDS_OF = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
YES_OR_NO = ("yes", "no")
MOST_MONEY = 1_000_000.0
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
# Replicate's tokens begin so; before the @ of a URL stands a password.
SECRET = re.compile(r"r8_|://.*@")
QUOTED_CHARACTERS = 60  # of a value that a message repeats


class WrongValueError(Exception):
    """A value does not pass its check; the message ends the sentence `NAME must be …`."""


def quoted(value: str) -> str:
    """A wrong value as a message repeats it: no more of it than helps, and no secret that was
    meant for another setting."""
    if SECRET.search(value):
        return "what looks like a token or a password"
    return repr(value if len(value) <= QUOTED_CHARACTERS else f"{value[:QUOTED_CHARACTERS]}…")


def text(value: str) -> str:
    return value.strip()


def seconds(*, least: float, most: float) -> Callable[[str], float]:
    """A duration: 90, 90s, 1.5m, 24h or 7d."""

    def parse(value: str) -> float:
        number, unit = value.strip(), 1
        if number[-1:] in SECONDS_OF:
            number, unit = number[:-1], SECONDS_OF[number[-1:]]
        try:
            found = float(number) * unit
        except ValueError:
            found = math.nan
        if not least <= found <= most:
            limits = f"from {_duration(least)} to {_duration(most)}"
            raise WrongValueError(f"a duration {limits}, not {quoted(value)}")
        return found

    return parse


def whole_seconds(*, least: int, most: int) -> Callable[[str], int]:
    """A duration without a fraction of a second."""

    def parse(value: str) -> int:
        found = seconds(least=least, most=most)(value)
        if not found.is_integer():
            raise WrongValueError(f"whole seconds, not {quoted(value)}")
        return int(found)

    return parse


def _duration(seconds: float) -> str:
    """As `seconds` reads it, in the greatest unit that leaves no fraction: 0.05s, 90s, 10m."""
    for unit, length in reversed(SECONDS_OF.items()):
        if seconds and seconds % length == 0:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"


def amount(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 <= number < MOST_MONEY:
        raise WrongValueError(f"an amount of money such as 0.003, not {quoted(value)}")
    return number


def folder(value: str) -> Path:
    """A folder to write to; it must be there, so that a typing mistake makes no new one."""
    path = Path(value).expanduser().absolute()  # of nothing at all, the working directory
    if not value or not path.is_dir() or not os.access(path, os.W_OK | os.X_OK):
        raise WrongValueError(f"a folder that is there and can be written to, not {quoted(value)}")
    return path


def whole(*, least: int, most: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise WrongValueError(f"a whole number from {least} to {most}, not {quoted(value)}")
        return number

    return parse


def one_of(*choices: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value.strip().lower() not in choices:
            raise WrongValueError(f"one of {', '.join(choices)}, not {quoted(value)}")
        return value.strip().lower()

    return parse


def yes_or_no(value: str) -> bool:
    return one_of(*YES_OR_NO)(value) == "yes"


def input_name(value: str) -> str | None:
    """The name of a model's input, or None for the word none."""
    name = value.strip()
    if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) or name == "prompt":
        raise WrongValueError(f"the name of an input such as seed, or none, not {quoted(value)}")
    return None if name == "none" else name


def prompt(value: str) -> str:
    try:
        return prompts.clean(value, None)
    except prompts.InvalidPromptError:
        most = prompts.MAX_CHARACTERS
        given = str(len(value)) if len(value) > most else "a blank one"
        raise WrongValueError(f"a prompt of 1 to {most} characters, not {given}") from None


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
            f"owner/name, owner/name:version or a version of 64 hex digits, not {quoted(value)}"
        )
    return name


def model_input(value: str) -> dict[str, Any]:
    try:
        parsed = json.loads(value, parse_constant=_refuse_constant)
        json.dumps(parsed, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise WrongValueError(
            """a JSON object such as {"aspect_ratio": "1:1", "output_format": "png"}"""
        )
    return parsed


def leave_free(inputs: dict[str, Any], marker: str | None) -> None:
    """Among the inputs of the settings is none that imagegen sends by itself."""
    if taken := sorted(name for name in inputs if name in {"prompt", marker}):
        raise WrongValueError(
            f"a JSON object without {' and '.join(taken)}: imagegen sets these itself"
        )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def api_url(value: str) -> str:
    """The API token travels there: https, or http on this machine alone (the sandbox)."""
    example = "an https URL (http only on localhost) without a user, query or fragment"
    try:
        parts = urlsplit(value.strip())
        parts.port  # noqa: B018 (raises where the port is no port)
    except ValueError:
        raise WrongValueError(example) from None
    schemes = {"https", "http"} if parts.hostname in LOOPBACK else {"https"}
    if not parts.hostname or parts.scheme not in schemes:
        raise WrongValueError(example)
    if not re.fullmatch(r"[\x21-\x7e]+", value.strip()) or re.search("[@?#]", value):
        raise WrongValueError(example)
    return value.strip().rstrip("/")
