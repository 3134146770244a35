"""Replicate's HTTP API: create, get, list and cancel predictions. All HTTP is here.

The official SDK makes the HTTP client (credentials, base URL, connection pool). Its own calls are
not used: they have no timeout on create, repeat GETs by themselves for minutes, and raise on
statuses that the SDK does not know. The methods here return values, and raise no HTTP error.

Creates and polls, which each token needs, are sent over connections of `exchange`, with the
headers of the SDK's client. Through httpx they would cost most of a worker's CPU.
"""

# httpx would leave it to its first use, in every worker, at every restart.
import encodings.idna  # noqa: F401
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx
from replicate.client import Client

from imagegen.metrics import definitions as metrics
from imagegen.redaction import Redactor
from imagegen.replicate import facts, list_page, replies
from imagegen.replicate.exchange import NETWORK_ERRORS, Answer
from imagegen.replicate.http import Deadline, SendByPassedError, TooLongError, chunks, read_capped
from imagegen.replicate.list_page import Since
from imagegen.replicate.listing import Listing, Missing
from imagegen.replicate.marker import SEED, Marker
from imagegen.replicate.replies import (
    Answered,
    Listed,
    NoAnswer,
    NotSent,
    Page,
    Prediction,
    Rejected,
    Reply,
)
from imagegen.replicate.request_budget import RequestBudget
from imagegen.replicate.tls import tls_context

# `read` is the longest silence on an open connection; a create is answered within a second or two.
TIMEOUT = httpx.Timeout(connect=5.0, read=15.0, write=10.0, pool=5.0)
# For a complete answer, however slowly its bytes come.
ANSWER_SECONDS = 30.0
# A prediction whose output is an image as text has a few MB.
ANSWER_BYTES = 32 * 1024 * 1024
# A page of the list has a hundred predictions, and is read one by one.
PAGE_SECONDS = 60.0
PAGE_BYTES = 100 * ANSWER_BYTES
# Nothing was sent when connecting fails, so this is safe for POST as well.
CONNECT_RETRIES = 2
# How long nothing is sent after a 429 of a poll or a list whose answer names no time.
HOLD_SECONDS = 2.0
LONGEST_HOLD_SECONDS = 120.0
# Operations that a worker sends for each token.
FREQUENT = {"create", "get"}
# 100 predictions a page: far more than an hour of the account's 600 creates a minute.
LIST_PAGES = 500
# The longest wait for the account's name, for which all slots wait. An account that could not be
# read is asked for again soon: after an outage all requests without an answer wait for it.
ACCOUNT_SECONDS = 3.0
ACCOUNT_AGAIN_SECONDS = 5.0


@dataclass(frozen=True)
class _Response:
    status: int
    headers: Mapping[str, str]
    body: object  # JSON, or a page of the list; None if it can be read as neither
    text: str = ""  # how a body begins that is no JSON


class ReplicateClient:
    """One worker's client of Replicate. Make it after the fork: processes that inherit a used
    client get each other's answers."""

    def __init__(
        self,
        token: str,
        base_url: str,
        cancel_after_seconds: int,
        budget: RequestBudget,
        marker: Marker | None = SEED,
        *,
        note_remaining: Callable[[int | None], None] = lambda remaining: None,
    ) -> None:
        """`budget` limits all requests but creates, which the gate limits. `note_remaining` is
        called after a create, with how many more the account's limit admits at once."""
        self._redact = Redactor([token])
        self._cancel_after_seconds = cancel_after_seconds
        self._marker = marker
        self._budget = budget
        self._note_remaining = note_remaining
        self._account: str | None = None
        self._account_again = 0.0  # monotonic
        self._account_lock = threading.Lock()
        self._deadline = Deadline()
        client = Client(
            token,
            base_url=facts.api_root(base_url),
            timeout=TIMEOUT,
            transport=self._deadline.transport(tls_context(), retries=CONNECT_RETRIES),
        )
        # Built now: ten threads that use it for the first time at once would build ten.
        self._http: httpx.Client = client._client
        # The SDK's transport repeats GETs on 429, 503 and 504, asleep for minutes.
        self._http._transport.max_attempts = 1  # type: ignore[attr-defined]
        self._kept = self._deadline.kept_connections(
            self._http, tls_context(), retries=CONNECT_RETRIES
        )

    def close(self) -> None:
        self._http.close()
        self._kept.close()

    def create(self, model: str, inputs: dict[str, Any], *, send_by: float = math.inf) -> Reply:
        """Send one POST for a prediction, and return what came back. It is never repeated, and not
        sent after `send_by`, a time of `boottime`: then NotSent comes back."""
        body: dict[str, Any] = {"input": inputs}
        if ":" in model or facts.VERSION_ID.fullmatch(model):
            path, body["version"] = "/predictions", model.partition(":")[2] or model
        else:
            kind = "" if model.startswith(facts.DEPLOYMENT) else "models/"
            path = f"/{kind}{quote(model)}/predictions"
        headers = {"Cancel-After": f"{self._cancel_after_seconds}s"}
        with _timed("create"):
            response = self._send("create", "POST", path, body, headers, send_by=send_by)
            if isinstance(response, _Response) and 200 <= response.status < 300:
                self._note_remaining(replies.remaining(response.headers))
            return self._prediction(response)

    def get(self, prediction_id: str) -> Reply:
        return self._about(prediction_id, "get", "GET")

    def cancel(self, prediction_id: str) -> Reply:
        return self._about(prediction_id, "cancel", "POST", "/cancel")

    def account(self) -> str | None:
        """Return the name of the account that owns the API token; None if it cannot be read now."""
        with self._account_lock:
            if self._account is None and time.monotonic() >= self._account_again:
                response = self._send_within_budget("account", "GET", "/account")
                match response:
                    case _Response(200, _, {"username": str(name)}) if name:
                        self._account = replies.error_text(name)
                    case _:
                        self._account_again = time.monotonic() + ACCOUNT_AGAIN_SECONDS
            return self._account

    def list(self, *since: Since) -> Listed:
        """Return the predictions of the account since the earliest of these times, by either clock.

        If the list may be incomplete, its `missing` says why.
        """
        found: dict[str, Prediction] = {}
        pages = self.pages(*since, most=LIST_PAGES)
        for page in pages:
            found |= {item.id or f"without an id {len(found)}": item for item in page.predictions}
        return Listed(tuple(found.values()), pages.missing, pages.sent_at)

    def pages(self, *since: Since, most: int) -> Listing:
        """Return the same list, to be read page by page, with at most `most` pages."""
        return Listing(self._read_page, since, most)

    def _read_page(self, path: str) -> tuple[Page | Missing, datetime | None]:
        response = self._send_within_budget("list", "GET", path)
        if not isinstance(response, _Response):
            return response, None
        sent_at = replies.sent_at(response.headers)
        if response.status != 200:
            return self._rejection(response), sent_at
        if not isinstance(response.body, Page):
            return NoAnswer("a list of predictions that cannot be read"), sent_at
        return response.body, sent_at

    def _about(self, prediction_id: str, operation: str, method: str, action: str = "") -> Reply:
        path = f"/predictions/{prediction_id}{action}"
        reply = self._prediction(self._send_within_budget(operation, method, path))
        if isinstance(reply, Answered) and reply.prediction.id != prediction_id:
            return NoAnswer("another prediction than the one asked for")
        return reply

    def _prediction(self, response: _Response | NotSent | NoAnswer) -> Reply:
        if not isinstance(response, _Response):
            return response
        if not 200 <= response.status < 300:
            return self._rejection(response)
        prediction = replies.parse_prediction(response.body, self._marker)
        if prediction is None:
            return NoAnswer(f"HTTP {response.status} without a prediction in it")
        return Answered(prediction)

    def _send_within_budget(
        self, operation: str, method: str, path: str
    ) -> _Response | NotSent | NoAnswer:
        """Send a request other than a create, as soon as the budget admits it."""
        self._budget.wait()
        with _timed(operation):
            response = self._send(operation, method, path)
        if isinstance(response, _Response) and response.status == 429:
            hint_seconds = self._rejection(response).retry_after_seconds or HOLD_SECONDS
            self._budget.hold(min(hint_seconds, LONGEST_HOLD_SECONDS))
        return response

    def _send(
        self,
        operation: str,
        method: str,
        path: str,
        body: object = None,
        headers: dict[str, str] | None = None,
        *,
        send_by: float = math.inf,
    ) -> _Response | NotSent | NoAnswer:
        try:
            # Before anything is sent: inputs that cannot be written as JSON are NotSent.
            content = None if body is None else replies.write_json(body)
        except (ValueError, TypeError, RecursionError) as error:
            return NotSent(self._message(error))
        headers = {"Content-Type": "application/json", **(headers or {})}
        is_list = list_page.is_path(path)
        seconds = PAGE_SECONDS if is_list else ANSWER_SECONDS
        self._deadline.start(
            ACCOUNT_SECONDS if operation == "account" else seconds, send_by=send_by
        )
        sent = None
        try:
            if operation in FREQUENT:
                sent = self._kept.exchange(method, path, headers, content, ANSWER_BYTES)
                if isinstance(sent, Answer):
                    return _Response(sent.status, sent.headers, *replies.read_json(sent.body))
            with self._http.stream(
                method, path, content=content, headers=headers, extensions={"sent": sent}
            ) as response:
                try:
                    if is_list and response.status_code == httpx.codes.OK:
                        body, text = self._page(response), ""
                    else:
                        body, text = replies.read_json(read_capped(response, ANSWER_BYTES))
                except TooLongError:
                    return NoAnswer(f"HTTP {response.status_code}, too long an answer")
                return _Response(response.status_code, response.headers, body, text)
        except SendByPassedError as error:
            return NotSent(self._message(error))
        except (*NETWORK_ERRORS, httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            message = self._message(error)
            return NoAnswer(message) if self._deadline.has_written else NotSent(message)

    def _page(self, response: httpx.Response) -> Page | None:
        try:
            return list_page.read_page(chunks(response, PAGE_BYTES), self._marker)
        except (ValueError, RecursionError):
            return None

    def _message(self, error: Exception) -> str:
        return self._redact(f"{type(error).__name__}: {error}".rstrip(": "))

    def _rejection(self, response: _Response) -> Rejected:
        body = response.body if isinstance(response.body, dict) else {}
        title, detail = (replies.error_text(body.get(name)) for name in ("title", "detail"))
        other = page = ""
        if not (title or detail):
            other = replies.error_text(response.body)
            page = replies.page_text(response.text, response.headers)
        return Rejected(
            response.status,
            self._redact(title),
            self._redact(detail),
            replies.retry_after_seconds(body.get("retry_after"), detail, response.headers),
            other_json=self._redact(other),
            page=self._redact(page),
        )


@contextmanager
def _timed(operation: str) -> Iterator[None]:
    with metrics.REPLICATE_REQUEST_SECONDS.labels(operation).time():
        yield
