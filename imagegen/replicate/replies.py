"""Replicate's replies as values: each function here reads one part of a reply."""

import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeGuard

from imagegen.replicate.marker import SEED, Marker
from imagegen.text import printable, shorten

# A larger number is neither a duration nor a seed.
LARGEST_NUMBER = 2.0**53
# More images than any model makes of one prompt.
MOST_IMAGES = 1000
# The inputs that say how many images to make; models have different names for it.
COUNT_INPUTS = ("num_outputs", "num_images", "number_of_images")
# The most characters of an error. Replicate's have a few hundred; a proxy's page may have more.
MOST_CHARACTERS = 10_000
PAGE_CHARACTERS = 100
LIMIT = r"\b(\d{1,6}) requests? per (second|minute)(?: with a burst of (\d{1,6}))?"
PREDICTION_ID = re.compile(r"[a-z0-9]{8,80}")


@dataclass(frozen=True)
class Prediction:
    """A prediction as Replicate describes it. `output` is its JSON, unread."""

    id: str
    status: str
    output: object = None
    error: str | None = None
    model: str | None = None
    prompt: str | None = None
    seed: int | None = None
    images_asked: int | None = None  # as sent; None: the model's default
    images_made: int | None = None  # as Replicate counts them for the bill
    logs: str = ""
    data_removed: bool = False
    predict_seconds: float | None = None
    total_seconds: float | None = None
    created_at: datetime | None = None
    source: str | None = None  # api, or web: the playground


@dataclass(frozen=True)
class Answered:
    """Replicate answered with a prediction."""

    prediction: Prediction


@dataclass(frozen=True)
class Limit:
    """A limit of an account, as a refusal names it."""

    per_second: float
    burst: int


@dataclass(frozen=True)
class Rejected:
    """An error: its status, its text, and its hint when to try again.

    Replicate's own errors have a title or a detail. Others come from something in between, such as
    a proxy, a firewall or a captive portal, or from a provider through a gateway.
    """

    status: int
    title: str = ""
    detail: str = ""
    retry_after_seconds: float | None = None
    other_json: str = ""  # JSON without Replicate's title and detail
    page: str = ""  # the title or the beginning of a page that is no JSON

    @property
    def is_replicates(self) -> bool:
        """Whether it is in Replicate's own words."""
        return bool(self.title or self.detail)

    @property
    def words(self) -> str:
        """The error's text, if it is JSON, from Replicate or from something in between."""
        return "\n".join(filter(None, [self.title, self.detail.strip(), self.other_json]))

    def __str__(self) -> str:
        said = [self.title, self.detail.strip(), self.other_json, self.page]
        return " ".join(filter(None, [f"HTTP {self.status}", *said]))


@dataclass(frozen=True)
class NotSent:
    """Nothing reached Replicate."""

    why: str

    def __str__(self) -> str:
        return self.why


@dataclass(frozen=True)
class NoAnswer:
    """The request left, and its answer is missing or cannot be read."""

    why: str

    def __str__(self) -> str:
        return self.why


Reply = Answered | Rejected | NotSent | NoAnswer


@dataclass(frozen=True)
class Listed:
    """Replicate's predictions since a time, newest first, and without their outputs."""

    predictions: tuple[Prediction, ...]
    missing: Rejected | NotSent | NoAnswer | None = None  # why there may be more
    sent_at: datetime | None = None  # by Replicate's own clock, in whole seconds


@dataclass(frozen=True)
class Page:
    predictions: list[Prediction]
    next_url: str | None


def write_json(body: object) -> bytes:
    """Return the body of a request. Raises ValueError, TypeError or RecursionError."""
    return json.dumps(body, ensure_ascii=False, allow_nan=False).encode()


def read_json(content: bytes) -> tuple[object, str]:
    """Return a body's JSON and ""; or, if it is no JSON, None and the beginning of its text."""
    try:
        return json.loads(content), ""
    except (ValueError, RecursionError):
        return None, content[:MOST_CHARACTERS].decode(errors="replace")


def parse_listed(body: object, marker: Marker | None) -> Prediction | None:
    """Return an item of a list, without its output. If it has no id or status that can be read, it
    is a prediction all the same, and its seed or its time may show that it is ours."""
    if not isinstance(body, dict):
        return None
    prediction_id, status = body.get("id"), body.get("status")
    return _described(
        body | {"output": None, "logs": None},
        prediction_id if _is_id(prediction_id) else "",
        status if isinstance(status, str) else "",
        marker,
    )


def parse_prediction(body: object, marker: Marker | None = SEED) -> Prediction | None:
    """Return a prediction from its JSON, or None if it is not one. `marker` is the input that holds
    its generation's seed, if the model has one."""
    if not isinstance(body, dict):
        return None
    prediction_id, status = body.get("id"), body.get("status")
    if not _is_id(prediction_id) or not isinstance(status, str):
        return None
    return _described(body, prediction_id, status, marker)


def _is_id(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and PREDICTION_ID.fullmatch(value) is not None


def _described(
    body: Mapping[str, Any], prediction_id: str, status: str, marker: Marker | None
) -> Prediction:
    inputs = body.get("input")
    inputs = inputs if isinstance(inputs, dict) else {}
    measured = body.get("metrics")
    measured = measured if isinstance(measured, dict) else {}
    logs = body.get("logs")
    model, prompt, source = body.get("model"), inputs.get("prompt"), body.get("source")
    return Prediction(
        id=prediction_id,
        status=status,
        output=body.get("output"),
        error=error_text(body.get("error")) or None,
        model=model if isinstance(model, str) else None,
        prompt=prompt if isinstance(prompt, str) else None,
        seed=_integer(marker.seed_in(inputs)) if marker else None,
        source=source if isinstance(source, str) else None,
        images_asked=next(filter(None, (_images(inputs.get(name)) for name in COUNT_INPUTS)), None),
        images_made=_images(measured.get("image_count")),
        logs=logs if isinstance(logs, str) else "",
        data_removed=body.get("data_removed") is True,
        predict_seconds=_number(measured.get("predict_time")),
        total_seconds=_number(measured.get("total_time")),
        created_at=_time(body.get("created_at")),
    )


def error_text(value: object) -> str:
    """Return an error as text: lists and objects as JSON. NUL and lone surrogates, which PostgreSQL
    cannot store, are removed."""
    text = value if isinstance(value, str) else json.dumps(value) if value is not None else ""
    return text[:MOST_CHARACTERS].replace("\0", "").encode(errors="replace").decode()


def page_text(text: str, headers: Mapping[str, str]) -> str:
    """Return a line that shows where a body that is no JSON comes from: its title or its beginning,
    and the name of the server."""
    title = re.search(r"<title[^>]{0,200}>([^<]{1,1000})", text, re.IGNORECASE)
    is_html = text.lstrip().startswith("<")
    said = html.unescape(title[1]) if title else "" if is_html else text
    server = printable(headers.get("server", ""))
    parts = [shorten(printable(said), PAGE_CHARACTERS), f"from {server}" if server else ""]
    return error_text(", ".join(filter(None, parts)))


def _time(value: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return time if time is None or time.tzinfo else time.replace(tzinfo=UTC)


def _number(value: object) -> float | None:
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or not 0 <= value < LARGEST_NUMBER
    ):
        return None
    return float(value)


def _integer(value: object) -> int | None:
    """Return a whole number, which some JSON writers give as 7.0."""
    number = _number(value)
    return int(number) if number is not None and number.is_integer() else None


def _images(value: object) -> int | None:
    number = _integer(value)
    return number if number and number <= MOST_IMAGES else None


def retry_after_seconds(hint: object, detail: str, headers: Mapping[str, str]) -> float | None:
    """Return in how many seconds to try again: by the body's field, its text, then the headers."""
    in_text = re.search(r"(?:resets in ~?|available in )(\d+(?:\.\d+)?)", detail)
    candidates = [
        hint,
        in_text and in_text.group(1),
        headers.get("retry-after"),
        headers.get("ratelimit-reset"),
    ]
    for candidate in candidates:
        if re.fullmatch(r"\d{1,6}(\.\d+)?", str(candidate)):
            return float(str(candidate))
    return None


def limit_in(detail: str) -> Limit | None:
    """Return the limit that a refusal names: "Your rate limit for creating predictions is reduced
    to 6 requests per minute with a burst of 1 requests while you have less than $5.0 in credit."
    """
    named = re.search(LIMIT, detail)
    if named is None or not int(named[1]):
        return None
    return Limit(int(named[1]) / (60 if named[2] == "minute" else 1), int(named[3] or 1))


def remaining(headers: Mapping[str, str]) -> int | None:
    """Return how many more creates the account's limit admits at once; None if the answer does not
    show it. The limits: https://replicate.com/docs/topics/predictions/rate-limits. Replicate's
    answers have this header."""
    text = headers.get("ratelimit-remaining", "")
    return int(text) if re.fullmatch(r"\d{1,9}", text) else None


def sent_at(headers: Mapping[str, str]) -> datetime | None:
    """Return when an answer was sent, by the sender's clock, if it says so (RFC 9110, 6.6.1)."""
    try:
        date = parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, OverflowError):  # a year or a zone beyond all calendars
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
