"""HTML pages as responses, and the page that has only a message."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from imagegen.web.image_sources import HOME
from imagegen.web.rendering import render, security_headers
from imagegen.web.responses import Response

HTML = "text/html; charset=utf-8"


def page(template: str, status: HTTPStatus, origins: Iterable[str], **values: Any) -> Response:
    """Return a page that shows images of these origins."""
    return Response(status, render(template, **values), HTML, security_headers(origins))


def message(status: HTTPStatus, title: str, why: str, home: str = HOME) -> Response:
    """Return the page that has only this message, and leads back to `home`."""
    return page("message.mako", status, [], title=title, message=why, home=home)
