"""The sandbox's answers: the real bodies of Replicate's API, as recorded or seen in public."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

PROBLEM = "application/problem+json"
HTML_PAGE = "<!DOCTYPE html>\n<html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"
# What the edge answers by itself, without the API behind it, is a page.
EDGE_STATUSES = (403, 502, 503, 504)


@dataclass(frozen=True)
class Answer:
    """What goes back for one request."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    prediction_id: str | None = None  # for the ledger: the prediction that it speaks of


def json_answer(
    value: object,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    prediction_id: str | None = None,
) -> Answer:
    body = json.dumps(value).encode()
    named = {"content-type": "application/json", **(headers or {})}
    return Answer(status, body, named, prediction_id)


def problem(status: int, detail: str, *, title: str | None = None, **more: object) -> Answer:
    """An error in Replicate's shape."""
    body = {"title": title} if title else {}
    return json_answer(
        {**body, "detail": detail, "status": status, **more},
        status=status,
        headers={"content-type": PROBLEM},
    )


UNAUTHENTICATED = problem(
    401, "You did not pass a valid authentication token", title="Unauthenticated"
)
NOT_FOUND = problem(404, "The requested resource could not be found.")
UNKNOWN_VERSION = problem(
    422,
    "The specified version does not exist (or perhaps you don't have permission to use it?)",
    title="Invalid version or not permitted",
)
NO_CREDIT = problem(
    402,
    "You have insufficient credit to run this model. Go to "
    "https://replicate.com/account/billing#billing to purchase credit. Once you purchase credit, "
    "please wait a few minutes before trying again.",
    title="Insufficient credit",
)


def throttled(retry_after: int, per_minute: int = 6, burst: int = 1) -> Answer:
    """Refused by the rate limit. There is no Retry-After header: the body holds the time."""
    return problem(
        429,
        "Request was throttled. Your rate limit for creating predictions is reduced to "
        f"{per_minute} requests per minute with a burst of {burst} requests while you have less "
        f"than $5.0 in credit. Your rate limit resets in ~{retry_after}s.",
        retry_after=retry_after,
    )


def invalid_input(problems: list[tuple[str, str, str]]) -> Answer:
    """Input that the model's schema refuses: (type, field, description) of each problem."""
    return problem(
        422,
        "".join(f"- {field}: {text}\n" if field else f"- {text}\n" for _, field, text in problems),
        title="Input validation failed",
        invalid_fields=[
            {"type": kind, "field": field, "description": text} for kind, field, text in problems
        ],
    )


def method_not_allowed(method: str) -> Answer:
    return problem(405, f'Method "{method}" not allowed.')


def usual(status: int) -> Answer:
    """What Replicate says with this status when nothing else is asked for."""
    if status in EDGE_STATUSES:
        return html(status)
    return USUAL.get(status) or problem(status, phrase(status))


def html(status: int) -> Answer:
    page = HTML_PAGE.format(f"{status} {phrase(status)}")
    return Answer(status, page.encode(), {"content-type": "text/html; charset=UTF-8"})


def phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:  # 520 to 524 are Cloudflare's own
        return "Unknown"


USUAL = {
    401: UNAUTHENTICATED,
    402: NO_CREDIT,
    404: NOT_FOUND,
    422: invalid_input([("required", "input", "prompt is required")]),
    429: throttled(5),
    500: problem(500, "Internal server error"),
}
