"""What a reply of Replicate means for a token: pure functions from values to values."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from imagegen.failures import Kind, Reason
from imagegen.replicate.replies import Answered, NoAnswer, NotSent, Prediction, Rejected, Reply


@dataclass(frozen=True)
class Accepted:
    """Replicate made a prediction."""

    prediction: Prediction


@dataclass(frozen=True)
class Running:
    """The prediction has not ended."""


@dataclass(frozen=True)
class Succeeded:
    """There is an image."""

    image_url: str
    predict_seconds: float | None
    total_seconds: float | None
    images: int = 1  # in the output: Replicate bills each


@dataclass(frozen=True)
class Failed:
    """The attempt failed."""

    kind: Kind
    message: str


@dataclass(frozen=True)
class Refused:
    """No prediction was made, and the token is not to blame."""

    reason: Reason
    message: str
    wait_seconds: float | None = None


@dataclass(frozen=True)
class Ambiguous:
    """A prediction may have been made or not: only Replicate's list shows which."""

    message: str


@dataclass(frozen=True)
class PollFailed:
    """Polling a prediction failed; the prediction goes on."""

    message: str
    missing: bool = False
    reason: Reason | None = None  # what is wrong with Replicate, if nothing is with the prediction


# What browsers and servers take; Replicate's are a tenth of it.
LONGEST_URL = 2000
# Tried before all others: messages of the content policy say "try again" as well.
POLICY = re.compile(
    r"\(E005\)|\bnsfw\b|flagged\s+as\s+(potentially\s+)?sensitive|safety\s+system"
    r"|(request|content)\s+moderated|content\s+(policy|moderation)",
    re.IGNORECASE,
)
# What is wrong with the request as imagegen makes it, for any token.
REQUEST = re.compile(r"additional property|version is required", re.IGNORECASE)
INPUT = re.compile(r"input validation failed|^[ \t]*- input", re.IGNORECASE | re.MULTILINE)
ACCOUNT = re.compile(r"\bE4875\b")
CODE = re.compile(r"\bE\d{3,4}\b|\(code:\s*\w+\)")
# Matched in a log, which repeats the prompt as well.
HELD_BACK = re.compile(r"NSFW content (was )?detected", re.IGNORECASE)
OVERLOADED = re.compile(r"\bE00[1-4]\b|ModelRateLimitError|high demand", re.IGNORECASE)
STUBBORN = re.compile(r"\b(E9828|E1001)\b|out of memory|exitcode -9", re.IGNORECASE)
TRANSIENT = re.compile(
    r"unknown reason|internal error|uploa?d(ing)? output|interrupted|already exists",
    re.IGNORECASE,
)
PERMANENT = re.compile(
    r"must be (one of|less|greater|at (least|most)|between)|\b(Value|Type)Error\b|is required"
    r"|invalid input|validation",
    re.IGNORECASE,
)


def of_create(reply: Reply, seed: int | None) -> Accepted | Refused | Failed | Ambiguous:
    """Return what the reply to a POST means. `seed` is the one that was sent, if the model takes
    one. In doubt it is Ambiguous, never a reason to send again."""
    match reply:
        case Answered(prediction) if prediction.seed not in (None, seed) and seed is not None:
            return Ambiguous("the answer to another request")
        case Answered(prediction):
            return Accepted(prediction)
        case NotSent(why):
            return Refused(Reason.UNREACHABLE, why)
        case NoAnswer(why):
            return Ambiguous(why)
        case Rejected():
            return _of_rejection(reply)


def _of_rejection(reply: Rejected) -> Refused | Failed | Ambiguous:
    match reply.status:
        case 401 | 403:
            return Refused(Reason.UNAUTHORIZED, str(reply))
        case 402:
            return Refused(Reason.NO_CREDIT, str(reply))
        case 429:
            return Refused(Reason.THROTTLED, str(reply), reply.retry_after_seconds)
        case 400 | 413 if reply.title or reply.detail:
            return Failed(Kind.PERMANENT, str(reply))
        case 422 if POLICY.search(str(reply)):
            return Failed(Kind.CONTENT_POLICY, str(reply))
        case 422 if REQUEST.search(str(reply)):
            return Refused(Reason.MISCONFIGURED, str(reply))
        case 422 if INPUT.search(f"{reply.title}\n{reply.detail}"):
            return Failed(Kind.PERMANENT, str(reply))
        case 408 | 409:
            return Ambiguous(str(reply))
        case status if 400 <= status < 500:
            # 404, and 422 for a version: the model is not there, for any token. Or the answer is
            # not Replicate's, but a page of something in between.
            return Refused(Reason.MISCONFIGURED, str(reply))
        case _:
            return Ambiguous(str(reply))


def of_get(
    reply: Reply, *, http_allowed: bool
) -> Running | Succeeded | Failed | Refused | PollFailed:
    """Return what the reply to a poll means."""
    match reply:
        case Answered(prediction):
            return of_prediction(prediction, http_allowed=http_allowed)
        case Rejected(status=404) if reply.title or reply.detail:  # else no word of Replicate's
            return PollFailed(str(reply), missing=True)
        case Rejected(status=401 | 403):
            return PollFailed(str(reply), reason=Reason.UNAUTHORIZED)
        case Rejected(status=429):
            return PollFailed(str(reply))
        case Rejected():
            return PollFailed(str(reply), reason=Reason.UNAVAILABLE)
        case NotSent(why):
            return PollFailed(why, reason=Reason.UNREACHABLE)
        case NoAnswer(why):
            return PollFailed(why, reason=Reason.UNAVAILABLE)


def of_prediction(
    prediction: Prediction, *, http_allowed: bool
) -> Running | Succeeded | Failed | Refused:
    """Return what a prediction's status means. An unknown status means that it has not ended."""
    match prediction.status:
        case "succeeded":
            image_url = first_image(prediction.output, http_allowed=http_allowed)
            if image_url is None:
                return _without_image(prediction)
            images = len(prediction.output) if isinstance(prediction.output, list) else 1
            return Succeeded(
                image_url, prediction.predict_seconds, prediction.total_seconds, images
            )
        case "failed":
            return _of_error(prediction.error)
        case "canceled":
            return Failed(Kind.CANCELED, "the prediction was canceled")
        case "aborted":
            return Failed(Kind.TRANSIENT, "the prediction was aborted")
        case _:
            return Running()


def _without_image(prediction: Prediction) -> Failed:
    """Return why a prediction that succeeded, and was paid for, has no image."""
    if prediction.data_removed:
        deleted = "the prediction succeeded, and Replicate has deleted its image since"
        return Failed(Kind.DATA_REMOVED, deleted)
    if prediction.output:
        unreadable = "the prediction succeeded, and its output holds no URL of an image"
        return Failed(Kind.UNREADABLE, unreadable)
    if HELD_BACK.search(prediction.logs):
        # The model drops unsafe images silently, and says so in its log alone.
        held_back = "the prediction succeeded, and its images were held back as unsafe"
        return Failed(Kind.HELD_BACK, held_back)
    return Failed(Kind.NO_OUTPUT, "the prediction succeeded without an image")


def _of_error(error: str | None) -> Failed | Refused:
    """Return what the error of a failed prediction means."""
    if not error:
        return Failed(Kind.UNKNOWN, "the prediction failed without a message")
    if POLICY.search(error):
        return Failed(Kind.CONTENT_POLICY, error)
    if ACCOUNT.search(error):
        return Refused(Reason.MISCONFIGURED, error)
    if OVERLOADED.search(error):
        return Failed(Kind.OVERLOADED, error)
    if STUBBORN.search(error):
        return Failed(Kind.STUBBORN, error)
    if CODE.search(error) or TRANSIENT.search(error):
        return Failed(Kind.TRANSIENT, error)
    if PERMANENT.search(error):
        return Failed(Kind.PERMANENT, error)
    return Failed(Kind.UNKNOWN, error)


def first_image(output: object, *, http_allowed: bool) -> str | None:
    """Return the URL of the first image of an output: a list, a string or an object with a url."""
    for item in output if isinstance(output, list) else [output]:
        match item:
            case {"url": str(url)} | str(url) if _is_image_url(url, http_allowed=http_allowed):
                return url
    return None


def _is_image_url(url: str, *, http_allowed: bool) -> bool:
    schemes = {"https", "http"} if http_allowed else {"https"}
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if parts.scheme not in schemes or not parts.hostname:
        return False
    try:
        parts.hostname.encode("idna")
    except UnicodeError:  # no name that could be looked up
        return False
    return len(url) <= LONGEST_URL and url.isascii() and url.isprintable()
