"""Checks of Replicate's API: that this host reaches it, and that it accepts the token."""

import json
import os
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from imagegen.config import Settings
from imagegen.doctor.report import NTP, Finding, Findings, Level, ok, warning, wrong
from imagegen.errors import CannotStartError
from imagegen.replicate import (
    Deadline,
    TooLongError,
    facts,
    https_proxy,
    is_proxied,
    read_capped,
    sent_at,
    tls_context,
)

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 5.0
# A model's whole schema has about 20 kB.
ANSWER_BYTES = 4 * 1024 * 1024
# The date of an answer is in whole seconds, and the answer may be some seconds old.
SKEW_SECONDS = 10.0
# Half of it covers a proxy as deploy/README.md sets it up: its kernel gives up after 100 s.
THROUGH_PROXY_SECONDS = 300.0
ACCOUNT_PATH = "/account"
# The variables of OpenSSL; httpx uses the first that is set.
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


@dataclass(frozen=True)
class Answer:
    status: int
    body: Mapping[str, Any]  # empty if it is not a JSON object
    ahead_seconds: float  # of Replicate's clock; 0 if it is not known


class NoAnswerError(Exception):
    """Replicate did not answer; the message says why."""


def check_certificates(settings: Settings) -> Findings:
    """Check the certificates as the supervisor does at its start."""
    try:
        tls_context()
    except CannotStartError as error:
        yield wrong("certificates", error.message, error.fix)
        return
    given = [name for name in CERTIFICATES if os.environ.get(name)]
    yield ok("certificates", f"TLS trusts those of {given[0] if given else 'Mozilla (certifi)'}")


def check_replicate(settings: Settings) -> Findings:
    """Check the connection, then the API token."""
    try:
        tls = tls_context()
    except CannotStartError:
        yield warning("replicate", "not checked without certificates")
        return
    parts = urlsplit(settings.replicate_base_url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        proxy = https_proxy()
    except CannotStartError as error:
        yield wrong("replicate", error.message, error.fix)
        return
    if proxy and is_proxied(httpx.URL(settings.replicate_base_url)):
        yield _proxy_finding(settings, proxy, host)
        yield from _credentials(settings)
        return
    connection = _connection(host, port, tls if parts.scheme == "https" else None)
    yield connection
    if connection.level is Level.OK:
        yield from _credentials(settings)
    else:
        yield warning("credentials", "not checked: Replicate cannot be asked")


def _proxy_finding(settings: Settings, proxy: httpx.Proxy, host: str) -> Finding:
    message = f"asked through the proxy {proxy.url.host} (HTTPS_PROXY)"
    if settings.settle_seconds >= THROUGH_PROXY_SECONDS:
        return ok("replicate", message)
    message += ", which may deliver a request after its settle time"
    fix = (
        f"set IMAGEGEN_SETTLE_SECONDS={THROUGH_PROXY_SECONDS:g}, and in the proxy what"
        f" deploy/README.md says; or put {host} into NO_PROXY if this host reaches it directly"
    )
    return warning("replicate", message, fix)


def _connection(host: str, port: int, tls: ssl.SSLContext | None) -> Finding:
    began = time.monotonic()
    try:
        connection = socket.create_connection((host, port), CONNECT_SECONDS)
    except (socket.gaierror, UnicodeError) as error:  # the latter: the host's name is not valid
        fix = "put the right host into REPLICATE_BASE_URL, or repair this host's name server"
        return wrong("replicate", f"no address is known of {host}: {error}", fix)
    except OSError as error:
        fix = f"let this host reach {host}:{port} (firewall, route), or correct REPLICATE_BASE_URL"
        return wrong("replicate", f"cannot connect to {host}:{port}: {error}", fix)
    protocol = "HTTP"
    with connection:
        if tls is not None:
            try:
                with tls.wrap_socket(connection, server_hostname=host) as encrypted:
                    protocol = encrypted.version() or "TLS"
            except OSError as error:
                return wrong("replicate", f"no TLS with {host}:{port}: {error}", _tls_fix(error))
    answer_seconds = time.monotonic() - began
    return ok("replicate", f"{host}:{port} speaks {protocol}, after {answer_seconds * 1000:.0f} ms")


def _tls_fix(error: OSError) -> str:
    if not isinstance(error, ssl.SSLCertVerificationError):
        return "put the right port into REPLICATE_BASE_URL: what listens there has no TLS"
    if "mismatch" in error.verify_message:
        return "put the host that its certificate is for into REPLICATE_BASE_URL"
    return "name the CA of your proxy in SSL_CERT_FILE, or set this host's clock"


def _credentials(settings: Settings) -> Findings:
    try:
        answer = ask(settings, ACCOUNT_PATH)
    except NoAnswerError as error:
        yield wrong("credentials", f"no answer: {error}", f"try again; see {facts.STATUS_PAGE}")
        return
    yield judge_account(answer)
    if abs(answer.ahead_seconds) > SKEW_SECONDS:
        direction = "behind" if answer.ahead_seconds > 0 else "ahead of"
        message = f"this host's clock is {abs(answer.ahead_seconds):.0f} s {direction} Replicate's"
        yield warning("clock", message, NTP)


def judge_account(answer: Answer) -> Finding:
    """Check that the answer is Replicate's, and that the token is accepted."""
    match answer.status:
        case 200 if "username" in answer.body:
            return ok("credentials", f"the token is good, of account {answer.body['username']}")
        case 401 | 403 if {"title", "detail"} & answer.body.keys():  # else a firewall's
            fix = f"put a valid token into REPLICATE_API_TOKEN: {facts.TOKENS_PAGE}"
            return wrong("credentials", f"Replicate refuses the token (HTTP {answer.status})", fix)
        case 429 | 500 | 502 | 503 | 504:
            message = f"Replicate is not well, or has had enough (HTTP {answer.status})"
            return warning("credentials", message, f"try again; see {facts.STATUS_PAGE}")
        case _:
            message = f"what answers there is not Replicate's API (HTTP {answer.status})"
            fix = "correct REPLICATE_BASE_URL, or let requests pass at what stands in between"
            return wrong("credentials", message, fix)


def ask(settings: Settings, path: str) -> Answer:
    """Return the answer to a GET. Raises NoAnswerError."""
    deadline = Deadline()
    deadline.start(ANSWER_SECONDS)
    headers = {"Authorization": f"Bearer {settings.replicate_api_token}"}
    timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
    url = facts.api_root(settings.replicate_base_url) + path
    try:
        with (
            httpx.Client(transport=deadline.transport(tls_context()), timeout=timeout) as client,
            client.stream("GET", url, headers=headers) as response,
        ):
            content = read_capped(response, ANSWER_BYTES)
    except TooLongError:
        raise NoAnswerError("it goes on for ever") from None
    except CannotStartError as error:
        raise NoAnswerError(error.message) from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
        raise NoAnswerError(f"{type(error).__name__}: {error}".rstrip(": ")) from None
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    date = sent_at(response.headers)
    return Answer(
        response.status_code,
        body if isinstance(body, dict) else {},
        ahead_seconds=date.timestamp() - time.time() if date else 0.0,
    )
