"""The sandbox's answers: the real bodies of Replicate's API, as recorded or seen in public."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class Answer:
    """What goes back for one request."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def json_answer(
    value: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Answer:
    named = {"content-type": "application/json", **(headers or {})}
    return Answer(status, json.dumps(value).encode(), named)


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


def phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:  # 520 to 524 are Cloudflare's own
        return "Unknown"
