"""Access to the status page, which shows prompts, and images that are not revealed yet."""

import base64
import binascii
import hmac
import ipaddress
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from imagegen.config import Settings
from imagegen.web.responses import Response

NOT_SERVED = Response(
    HTTPStatus.NOT_FOUND,
    b"The page is not served here. Set IMAGEGEN_PAGE_PASSWORD, or IMAGEGEN_PAGE=yes.\n",
)
OTHER_HOST = Response(
    HTTPStatus.FORBIDDEN,
    b"Open the page by an IP address or as localhost, or set IMAGEGEN_PAGE_PASSWORD.\n",
)
NO_PASSWORD = Response(
    HTTPStatus.UNAUTHORIZED,
    b"The password is that of IMAGEGEN_PAGE_PASSWORD, with any user.\n",
    headers={"WWW-Authenticate": 'Basic realm="imagegen", charset="UTF-8"'},
)


class PageAccess:
    """Decides whether a request may see the page and its images."""

    def __init__(self, settings: Settings, *, is_loopback: bool) -> None:
        """`is_loopback`: whether only this host can reach the exporter. If others can, it serves
        the page only if IMAGEGEN_PAGE says so, or a password is set."""
        self._password = settings.page_password
        is_safe = is_loopback or self._password is not None
        self._is_served = settings.page == "yes" or (settings.page == "auto" and is_safe)

    def refusal(self, environ: Mapping[str, Any]) -> Response | None:
        """Return the answer to a request that may not see the page; None if it may."""
        if not self._is_served:
            return NOT_SERVED
        if self._password is None:
            # A foreign site can point its name at this host's address, so that its scripts read
            # the page (DNS rebinding). With a password they cannot: a browser does not send it.
            return None if is_own_name(environ.get("HTTP_HOST", "")) else OTHER_HOST
        given = _password_in(environ.get("HTTP_AUTHORIZATION", ""))
        return None if hmac.compare_digest(given, self._password.encode()) else NO_PASSWORD


def is_own_name(host: str) -> bool:
    """Return whether a Host header cannot be the name of a foreign site: it is missing, an address,
    localhost, or a name without a dot, such as a service of compose."""
    with suppress(ValueError):
        name = urlsplit(f"//{host}").hostname or ""
        if "." not in name or name.endswith(".localhost"):
            return True  # an IPv6 address as well
        return bool(ipaddress.ip_address(name))
    return False


def _password_in(authorization: str) -> bytes:
    """Return the password of HTTP's basic authentication; empty if there is none."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return b""
    try:
        _, _, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return b""
    return password
