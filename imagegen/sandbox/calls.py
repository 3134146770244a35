"""Requests to Replicate's API, read but not yet judged."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

ROUTES = tuple(
    (operation, method, re.compile(pattern))
    for operation, method, pattern in (
        ("create", "POST", r"/v1/predictions"),
        ("create", "POST", r"/v1/models/([^/]+/[^/]+)/predictions"),
        ("list", "GET", r"/v1/predictions"),
        ("get", "GET", r"/v1/predictions/([^/]+)"),
        ("cancel", "POST", r"/v1/predictions/([^/]+)/cancel"),
        ("file", "GET", r"/files/([^/]+)/out-[0-9]\.png"),
        ("account", "GET", r"/v1/account"),
        ("model", "GET", r"/v1/models/([^/]+/[^/]+)"),
        ("version", "GET", r"/v1/models/([^/]+/[^/]+/versions/[0-9a-f]{64})"),
    )
)


@dataclass(frozen=True)
class Call:
    """One request, and which operation on what it asks for."""

    method: str
    target: str  # path and query
    headers: Mapping[str, str]  # their names are in lower case
    body: bytes
    operation: str
    named: str  # the prediction, model or version in the path; nothing where it names none

    @cached_property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query))

    @cached_property
    def json(self) -> dict[str, Any] | None:
        """The body, or None where it is not a JSON object."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None


def read_call(method: str, target: str, headers: Mapping[str, str], body: bytes) -> Call:
    path = unquote(urlsplit(target).path)
    operation, named = "unknown", ""
    for known, its_method, pattern in ROUTES:
        if match := pattern.fullmatch(path):
            if its_method == method:
                operation, named = known, "".join(match.groups())
                break
            operation = "wrong method"
    lower = {name.lower(): value for name, value in headers.items()}
    return Call(method, target, lower, body, operation, named)
