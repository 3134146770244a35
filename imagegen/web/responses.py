"""The exporter's HTTP responses as values."""

from dataclasses import dataclass, field
from http import HTTPStatus

TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True)
class Response:
    status: HTTPStatus
    body: bytes
    content_type: str = TEXT
    headers: dict[str, str] = field(default_factory=dict)


NOT_FOUND = Response(HTTPStatus.NOT_FOUND, b"/, /tokens, /metrics, /healthz or /readyz\n")
NOT_ALLOWED = Response(
    HTTPStatus.METHOD_NOT_ALLOWED, b"GET or HEAD\n", headers={"Allow": "GET, HEAD"}
)
FAILED = Response(HTTPStatus.INTERNAL_SERVER_ERROR, b"The log says why.\n")
