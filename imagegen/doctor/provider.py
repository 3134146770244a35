"""Replicate's API: whether this host gets there, and whether the token opens it."""

import json
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from imagegen.checks import LOOPBACK
from imagegen.deadline import Deadline
from imagegen.doctor.findings import NTP, Finding, Findings, Level, ok, warning, wrong
from imagegen.replies import sent_at
from imagegen.settings import Settings

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 5.0
# A model's whole schema is some 20 kB.
ANSWER_BYTES = 4 * 1024 * 1024
TOKENS_PAGE = "https://replicate.com/account/api-tokens"
# Answers tell the second, and take some.
SKEW_SECONDS = 10.0
STATUS_PAGE = "https://www.replicatestatus.com"


@dataclass(frozen=True)
class Answer:
    status: int
    body: Mapping[str, Any]  # empty where it is no JSON object
    ahead_seconds: float = 0.0  # Replicate's clock, of this host's, as far as it tells


class NoAnswerError(Exception):
    """There is no answer; the message says why."""


def check_provider(settings: Settings) -> Findings:
    """The way there, then the token."""
    parts = urlsplit(settings.replicate_base_url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    if parts.scheme in getproxies() and host not in LOOPBACK and not proxy_bypass(host):
        yield warning(
            "replicate",
            f"{parts.scheme.upper()}_PROXY is set and not used: imagegen connects by itself",
            f"let this host reach {host}:{port}, or name a reverse proxy in REPLICATE_BASE_URL",
        )
    way = _way(host, port, is_tls=parts.scheme == "https")
    yield way
    if way.level is Level.OK:
        yield from _credentials(settings)
    else:
        yield warning("credentials", "not checked: Replicate cannot be asked")


def _way(host: str, port: int, *, is_tls: bool) -> Finding:
    began = time.monotonic()
    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        mend = "put the right host into REPLICATE_BASE_URL, or mend this host's name server"
        return wrong("replicate", f"no address is known of {host}: {error.strerror}", mend)
    try:
        connection = socket.create_connection((host, port), CONNECT_SECONDS)
    except OSError as error:
        mend = f"let this host reach {host}:{port} (firewall, route), or correct REPLICATE_BASE_URL"
        return wrong("replicate", f"cannot connect to {host}:{port}: {error}", mend)
    spoken = "HTTP"
    with connection:
        if is_tls:
            try:
                with _tls().wrap_socket(connection, server_hostname=host) as encrypted:
                    spoken = encrypted.version() or "TLS"
            except OSError as error:
                mend = "name the CA of your proxy in SSL_CERT_FILE, or set this host's clock"
                return wrong("replicate", f"no TLS with {host}:{port}: {error}", mend)
    answer_seconds = time.monotonic() - began
    return ok("replicate", f"{host}:{port} speaks {spoken}, after {answer_seconds * 1000:.0f} ms")


def _credentials(settings: Settings) -> Findings:
    try:
        answer = ask(settings, "/v1/account")
    except NoAnswerError as error:
        yield wrong("credentials", f"no answer: {error}", f"try again; see {STATUS_PAGE}")
        return
    yield _of_account(answer)
    if abs(answer.ahead_seconds) > SKEW_SECONDS:
        way = "behind" if answer.ahead_seconds > 0 else "ahead of"
        said = f"this host's clock is {abs(answer.ahead_seconds):.0f} s {way} Replicate's"
        yield warning("clock", said, NTP)


def _of_account(answer: Answer) -> Finding:
    match answer.status:
        case 200 if "username" in answer.body:
            return ok("credentials", f"the token is good, of account {answer.body['username']}")
        case 401 | 403:
            mend = f"put a valid token into REPLICATE_API_TOKEN: {TOKENS_PAGE}"
            return wrong("credentials", f"Replicate refuses the token (HTTP {answer.status})", mend)
        case 429 | 500 | 502 | 503 | 504:
            said = f"Replicate is not well, or has had enough (HTTP {answer.status})"
            return warning("credentials", said, f"try again; see {STATUS_PAGE}")
        case _:
            said = f"what answers there is not Replicate's API (HTTP {answer.status})"
            return wrong("credentials", said, "correct REPLICATE_BASE_URL")


def ask(settings: Settings, path: str) -> Answer:
    """What Replicate says to a GET. Raises NoAnswerError."""
    deadline = Deadline()
    deadline.start(ANSWER_SECONDS)
    headers = {"Authorization": f"Bearer {settings.replicate_api_token}"}
    timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
    content = bytearray()
    try:
        with (
            httpx.Client(transport=deadline.transport(_tls()), timeout=timeout) as client,
            client.stream("GET", settings.replicate_base_url + path, headers=headers) as response,
        ):
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > ANSWER_BYTES:
                    raise NoAnswerError("it goes on for ever")
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise NoAnswerError(f"{type(error).__name__}: {error}".rstrip(": ")) from None
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    there = sent_at(response.headers)
    return Answer(
        response.status_code,
        body if isinstance(body, dict) else {},
        ahead_seconds=there.timestamp() - time.time() if there else 0.0,
    )


def _tls() -> ssl.SSLContext:
    """As the workers have it. Raises OSError where SSL_CERT_FILE cannot be read."""
    from imagegen.provider import TLS  # noqa: PLC0415

    return TLS
