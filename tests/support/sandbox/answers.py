"""What Replicate, and the edge before it, answer on a bad day."""

from http import HTTPStatus

from imagegen.sandbox.responses import (
    NOT_FOUND,
    UNAUTHENTICATED,
    Answer,
    invalid_input,
    problem,
)

HTML_PAGE = "<!DOCTYPE html>\n<html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"
# What the edge answers by itself, without the API behind it, is a page.
EDGE_STATUSES = (403, 502, 503, 504)
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


def usual(status: int) -> Answer:
    """What Replicate says with this status when nothing else is asked for."""
    if status in EDGE_STATUSES:
        return html(status)
    return USUAL.get(status) or problem(status, phrase(status))


def phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:  # 520 to 524 are Cloudflare's own
        return "Unknown"


def html(status: int) -> Answer:
    page = HTML_PAGE.format(f"{status} {phrase(status)}")
    return Answer(status, page.encode(), {"content-type": "text/html; charset=UTF-8"})


USUAL = {
    401: UNAUTHENTICATED,
    402: NO_CREDIT,
    404: NOT_FOUND,
    422: invalid_input([("required", "input", "prompt is required")]),
    429: throttled(5),
    500: problem(500, "Internal server error"),
}
