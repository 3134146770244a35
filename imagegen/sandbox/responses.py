"""Answers of the sandbox, with bodies of Replicate's API as recorded or published."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class Answer:
    """The answer to one request."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def json_answer(
    value: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Answer:
    named = {"content-type": "application/json", **(headers or {})}
    return Answer(status, json.dumps(value).encode(), named)


def problem(status: int, detail: str, *, title: str | None = None, **more: object) -> Answer:
    """Return an error in Replicate's shape."""
    titled = {"title": title} if title else {}
    body = {**titled, "detail": detail, "status": status, **more}
    return json_answer(body, status=status, headers={"content-type": PROBLEM})


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
    """Refuse an input: (type, field, description) of each problem."""
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
