"""The meaning of Replicate's replies for a token: pure functions from values to values."""

import re
from dataclasses import dataclass, field, replace

from imagegen.failures import Kind, Reason
from imagegen.replicate import named_inputs
from imagegen.replicate.content_policy import is_refused_content
from imagegen.replicate.held_back import is_held_back, without_held_back
from imagegen.replicate.images import DATA, find_images, is_empty
from imagegen.replicate.prediction_errors import meaning
from imagegen.replicate.replies import (
    Answered,
    Limit,
    NoAnswer,
    NotSent,
    Prediction,
    Rejected,
    Reply,
    limit_in,
)


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

    image_url: str = field(repr=False)  # a data: URI of megabytes if the output holds the image
    predict_seconds: float | None
    total_seconds: float | None
    images: int = 1  # in the output: Replicate bills each


@dataclass(frozen=True)
class Failed:
    """The prediction failed, or none can be made of this prompt."""

    kind: Kind
    message: str
    wait_seconds: float = 0.0  # before another attempt, at least
    # What the prediction used, for its bill; None: not known.
    images: int | None = field(default=None, compare=False)
    predict_seconds: float | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Refused:
    """No prediction was made, and the token is not to blame."""

    reason: Reason
    message: str
    wait_seconds: float | None = None
    limit: Limit | None = None  # of the account, if it was reached and named


@dataclass(frozen=True)
class Ambiguous:
    """A prediction may have been made or not: only Replicate's list shows which."""

    message: str


@dataclass(frozen=True)
class PollFailed:
    """Polling a prediction failed; the prediction goes on."""

    message: str
    missing: bool = False
    reason: Reason | None = None  # set if Replicate is at fault: the gate may close for it


WITHIN_OUTPUT = (
    "the prediction succeeded, and its image is in the output itself (a data: URI), with no URL:"
    " set IMAGEGEN_KEEP_IMAGES, and such images are kept in that folder"
)
# Errors of a request as imagegen makes it for any token.
REQUEST = re.compile(r"additional property|version is required", re.IGNORECASE)
# Statuses that never mean refused content, and statuses that mean a wrong model or input.
NOT_ABOUT_CONTENT = {401, 402, 404}
ABOUT_MODEL = {404, 405, 410, 422}
IN_BETWEEN = "not an answer of Replicate's API, but of something in between"


def of_create(
    reply: Reply,
    seed: int | None,
    *,
    prompt: str | None = None,
    policy_pattern: re.Pattern[str] | None = None,
) -> Accepted | Refused | Failed | Ambiguous:
    """Return what the reply to a POST means. In doubt it is Ambiguous: nothing may be sent again.

    `seed` is the one that was sent, if the model takes one. `policy_pattern` is the operator's, for
    refusals of content."""
    match reply:
        case Answered(prediction) if prediction.seed not in (None, seed) and seed is not None:
            return Ambiguous("the answer to another request")
        case Answered(prediction):
            return Accepted(prediction)
        case NotSent(why):
            return Refused(Reason.UNREACHABLE, why)
        case NoAnswer(why):
            return Ambiguous(why)
        case Rejected(status=408 | 409):
            return Ambiguous(str(reply))
        case Rejected(status=429):  # also the page of an edge
            limit = limit_in(reply.detail)
            return Refused(Reason.THROTTLED, str(reply), reply.retry_after_seconds, limit)
        case Rejected(status=status) if 400 <= status < 500:
            return _of_rejection(reply, prompt, policy_pattern)
        case Rejected():
            return Ambiguous(str(reply))


def _of_rejection(
    reply: Rejected, prompt: str | None, policy_pattern: re.Pattern[str] | None
) -> Refused | Failed:
    """Return what a status from 400 to 499 means. No prediction was made.

    A page is never read as a refusal of content: a firewall's page may name a content policy too.
    """
    is_about_content = reply.status not in NOT_ABOUT_CONTENT and is_refused_content(
        reply.words, prompt=prompt, pattern=policy_pattern
    )
    if is_about_content:
        return Failed(Kind.CONTENT_POLICY, str(reply))
    if not reply.is_replicates:
        return Refused(Reason.INTERCEPTED, f"{reply}: {IN_BETWEEN}")
    match reply.status:
        case 401 | 403:
            return Refused(Reason.UNAUTHORIZED, str(reply))
        case 402:
            return Refused(Reason.NO_CREDIT, str(reply))
    names = named_inputs.in_rejection(reply.detail)
    settings = sorted(name for name in names if name and not named_inputs.is_prompt(name))
    if settings:
        refused = f"the model refuses its input {' and '.join(settings)}"
        return Refused(Reason.MISCONFIGURED, f"{refused}: {reply}")
    if (names and "" not in names) or named_inputs.is_wrong_prompt(reply.detail):
        return Failed(Kind.PERMANENT, str(reply))
    if names or reply.status in ABOUT_MODEL or REQUEST.search(reply.words):
        return Refused(Reason.MISCONFIGURED, str(reply))
    # 400: "Failed to parse request body as JSON". Something in between has changed the body.
    return Refused(Reason.INTERCEPTED, str(reply))


def refuses_api_token(reply: Rejected | NotSent | NoAnswer | None) -> bool:
    """Return whether Replicate itself refused a request because of its API token."""
    return isinstance(reply, Rejected) and reply.status in {401, 403} and reply.is_replicates


def of_get(
    reply: Reply,
    *,
    http_allowed: bool,
    data_allowed: bool = False,
    policy_pattern: re.Pattern[str] | None = None,
) -> Running | Succeeded | Failed | PollFailed:
    """Return what the reply to a poll means. `data_allowed`: an image within the output (a data:
    URI) counts as an image. `http_allowed`: its URL may be http."""
    match reply:
        case Answered(prediction):
            return of_prediction(
                prediction,
                http_allowed=http_allowed,
                data_allowed=data_allowed,
                policy_pattern=policy_pattern,
            )
        case Rejected(status=404) if reply.is_replicates:
            return PollFailed(str(reply), missing=True)
        case Rejected() if refuses_api_token(reply):
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
    prediction: Prediction,
    *,
    http_allowed: bool,
    data_allowed: bool = False,
    policy_pattern: re.Pattern[str] | None = None,
) -> Running | Succeeded | Failed:
    """Return what a prediction's status means. An unknown status means that it has not ended."""
    outcome = _of_status(
        prediction,
        http_allowed=http_allowed,
        data_allowed=data_allowed,
        policy_pattern=policy_pattern,
    )
    if not isinstance(outcome, Failed):
        return outcome
    images = prediction.images_made or prediction.images_asked
    return replace(outcome, images=images, predict_seconds=prediction.predict_seconds)


def _of_status(
    prediction: Prediction,
    *,
    http_allowed: bool,
    data_allowed: bool,
    policy_pattern: re.Pattern[str] | None,
) -> Running | Succeeded | Failed:
    match prediction.status:
        case "succeeded":
            return _of_output(prediction, http_allowed=http_allowed, data_allowed=data_allowed)
        case "failed":
            return _of_error(prediction, policy_pattern)
        case "canceled":
            return Failed(Kind.CANCELED, "the prediction was canceled")
        case "aborted":
            return Failed(Kind.ABORTED, "the prediction was aborted before it ran")
        case _:
            return Running()


def _of_output(
    prediction: Prediction, *, http_allowed: bool, data_allowed: bool
) -> Succeeded | Failed:
    """Return the image of a prediction that succeeded, or why it has none. It is paid for."""
    output = prediction.output
    found = find_images(output, http_allowed=http_allowed)
    left_out = output.count(None) if isinstance(output, list) else 0
    images = without_held_back(
        found,
        prediction.logs,
        prompt=prediction.prompt,
        expected=max(prediction.images_asked or 1, len(found) + left_out),
    )
    # An image with a URL comes first: no copy of it must be kept.
    image = min(images, key=lambda url: url.startswith(DATA), default=None)
    if image is None:
        return _without_image(prediction, held_back=bool(found))
    if image.startswith(DATA) and not data_allowed:
        return Failed(Kind.UNREADABLE, WITHIN_OUTPUT)
    return Succeeded(
        image,
        prediction.predict_seconds,
        prediction.total_seconds,
        prediction.images_made or len(found),
    )


def _without_image(prediction: Prediction, *, held_back: bool) -> Failed:
    """Return why a prediction that succeeded has no image."""
    if prediction.data_removed:
        deleted = "the prediction succeeded, and Replicate has deleted its image since"
        return Failed(Kind.DATA_REMOVED, deleted)
    if held_back or is_held_back(prediction.logs, prediction.prompt):
        unsafe = "the prediction succeeded, and its images were held back as unsafe"
        return Failed(Kind.HELD_BACK, unsafe)
    if is_empty(prediction.output):
        return Failed(Kind.NO_OUTPUT, "the prediction succeeded without an image")
    unreadable = "the prediction succeeded, and its output holds no image and no URL of one"
    return Failed(Kind.UNREADABLE, unreadable)


def _of_error(prediction: Prediction, policy_pattern: re.Pattern[str] | None) -> Failed:
    """Return what the error of a failed prediction means."""
    error = prediction.error
    if not error:
        return Failed(Kind.UNKNOWN, "the prediction failed without a message")
    kind = meaning(error, prompt=prediction.prompt, policy_pattern=policy_pattern)
    setting = named_inputs.wrong_setting(error) if kind is Kind.MISCONFIGURED else None
    return Failed(kind, f"the model refuses its input {setting}: {error}" if setting else error)
