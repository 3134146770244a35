"""Replicate's HTTP API: create, get, list and cancel predictions. All HTTP is here.

The official SDK brings the client (credentials, base URL, connection pool). Its own calls are not
used: they have no timeout on create, repeat GETs by themselves for minutes, and raise on statuses
that the API has and the SDK does not know. What comes back is a plain value, never an exception.
"""

# httpx would leave it to its first use, in every worker, at every restart.
import encodings.idna  # noqa: F401
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
from replicate.client import Client

from imagegen.metrics import definitions as metrics
from imagegen.redaction import Redactor
from imagegen.replicate import facts, replies
from imagegen.replicate.http import Deadline, SendByPassedError, TooLongError, read_capped
from imagegen.replicate.replies import (
    Answered,
    Listed,
    NoAnswer,
    NotSent,
    Prediction,
    Rejected,
    Reply,
)
from imagegen.replicate.request_budget import RequestBudget
from imagegen.replicate.tls import tls_context

# Read is the longest silence on an open connection; a create answers within a second or two.
TIMEOUT = httpx.Timeout(connect=5.0, read=15.0, write=10.0, pool=5.0)
# For a whole reply, however slowly its bytes come.
ANSWER_SECONDS = 30.0
# A page of 100 predictions with their inputs and logs stays far below.
ANSWER_BYTES = 8 * 1024 * 1024
# Nothing was sent when connecting fails, so this is safe for POST as well.
CONNECT_RETRIES = 2
# When the account's limit on other requests was reached and the answer does not say for how long.
HOLD_SECONDS = 2.0
LONGEST_HOLD_SECONDS = 120.0
# 100 predictions a page: far more than an hour of the account's 600 creates a minute.
LIST_PAGES = 500
LIST_PATH = "/v1/predictions"

# Where nothing has been written, with these nothing was sent.
NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.LocalProtocolError,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
    UnicodeError,  # a host that is no name
)


@dataclass(frozen=True)
class _Response:
    status: int
    headers: httpx.Headers
    content: bytes

    def json(self) -> object:
        """Return the body as JSON, or None if it is none."""
        try:
            body: object = json.loads(self.content)
        except (ValueError, RecursionError):
            return None
        return body


class ReplicateClient:
    """One worker's client of Replicate, to be made after the fork: with a used client that is
    inherited, one process gets the replies of another."""

    def __init__(
        self,
        token: str,
        base_url: str,
        cancel_after_seconds: int,
        budget: RequestBudget,
        marker: str = "seed",
    ) -> None:
        """`budget` is for all requests but creates, whose rate is the gate's."""
        self._redact = Redactor([token])
        self._cancel_after_seconds = cancel_after_seconds
        self._marker = marker
        self._budget = budget
        self._deadline = Deadline()
        client = Client(
            token,
            base_url=base_url,
            timeout=TIMEOUT,
            transport=self._deadline.transport(tls_context(), retries=CONNECT_RETRIES),
        )
        # Built now: ten threads that come first at once would build ten.
        self._http: httpx.Client = client._client
        # The SDK's transport repeats GETs on 429, 503 and 504, asleep for minutes.
        self._http._transport.max_attempts = 1  # type: ignore[attr-defined]

    def close(self) -> None:
        self._http.close()

    def create(self, model: str, inputs: dict[str, Any], *, send_by: float = math.inf) -> Reply:
        """Send one POST for a prediction: never repeated, whatever happens to it, and not sent
        after `send_by`, a monotonic time."""
        if ":" in model or facts.VERSION_ID.fullmatch(model):
            path, body = "/v1/predictions", {"version": model.partition(":")[2] or model}
        else:
            path, body = f"/v1/models/{quote(model)}/predictions", {}
        headers = {"Cancel-After": f"{self._cancel_after_seconds}s"}
        with _timed("create"):
            response = self._send("POST", path, body | {"input": inputs}, headers, send_by)
            return self._prediction(response)

    def get(self, prediction_id: str) -> Reply:
        return self._about(prediction_id, "get", "GET")

    def cancel(self, prediction_id: str) -> Reply:
        return self._about(prediction_id, "cancel", "POST", "/cancel")

    def list(
        self, since: datetime, *, last_seconds: float
    ) -> Listed | Rejected | NotSent | NoAnswer:
        """Every prediction of the account since `since`, and of the last `last_seconds` by
        Replicate's own clock: the one that `since` was read from may be ahead of it."""
        found: list[Prediction] = []
        path = None
        for _ in range(LIST_PAGES):
            if path is None:
                response = self._first_page(since, timedelta(seconds=last_seconds))
            else:
                response = self._send_within_budget("list", "GET", path)
            if not isinstance(response, _Response):
                return response
            if response.status != 200:
                return self._rejection(response)
            page = replies.parse_page(response.json(), self._marker)
            if page is None:
                return NoAnswer("a list of predictions that cannot be read")
            found += page.predictions
            if page.next_url is None:
                return Listed(tuple(found))
            path = self._own_path(page.next_url)
            if path is None:
                return NoAnswer("a list of predictions that goes on elsewhere")
        return NoAnswer("a list of predictions without an end")

    def _first_page(self, since: datetime, last: timedelta) -> _Response | NotSent | NoAnswer:
        response = self._send_within_budget("list", "GET", _list_path(since))
        if isinstance(response, _Response) and response.status == 200:
            their_now = replies.sent_at(response.headers)
            if their_now and their_now - last < since:
                return self._send_within_budget("list", "GET", _list_path(their_now - last))
        return response

    def _about(self, prediction_id: str, operation: str, method: str, action: str = "") -> Reply:
        path = f"/v1/predictions/{prediction_id}{action}"
        reply = self._prediction(self._send_within_budget(operation, method, path))
        if isinstance(reply, Answered) and reply.prediction.id != prediction_id:
            return NoAnswer("another prediction than the one asked for")
        return reply

    def _prediction(self, response: _Response | NotSent | NoAnswer) -> Reply:
        if not isinstance(response, _Response):
            return response
        if not 200 <= response.status < 300:
            return self._rejection(response)
        prediction = replies.parse_prediction(response.json(), self._marker)
        if prediction is None:
            return NoAnswer(f"HTTP {response.status} without a prediction in it")
        return Answered(prediction)

    def _send_within_budget(
        self, operation: str, method: str, path: str
    ) -> _Response | NotSent | NoAnswer:
        """Send a request that is no create, within the budget."""
        self._budget.wait()
        with _timed(operation):
            response = self._send(method, path)
        if isinstance(response, _Response) and response.status == 429:
            hint_seconds = self._rejection(response).retry_after_seconds or HOLD_SECONDS
            self._budget.hold(min(hint_seconds, LONGEST_HOLD_SECONDS))
        return response

    def _send(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: dict[str, str] | None = None,
        send_by: float = math.inf,
    ) -> _Response | NotSent | NoAnswer:
        try:
            # Written here, so that what cannot be written as JSON was surely not sent.
            content = None if body is None else _json(body)
        except (ValueError, TypeError, RecursionError) as error:
            return NotSent(self._message(error))
        headers = {"Content-Type": "application/json", **(headers or {})}
        self._deadline.start(ANSWER_SECONDS, send_by=send_by)
        try:
            with self._http.stream(method, path, content=content, headers=headers) as response:
                try:
                    body = read_capped(response, ANSWER_BYTES)
                except TooLongError:
                    return NoAnswer(f"HTTP {response.status_code}, too long an answer")
                return _Response(response.status_code, response.headers, body)
        except SendByPassedError as error:
            return NotSent(self._message(error))
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            # The same errors come of an answer: httpx reads where a redirect leads to.
            surely_not_sent = isinstance(error, NEVER_SENT) and not self._deadline.has_written
            return (
                NotSent(self._message(error)) if surely_not_sent else NoAnswer(self._message(error))
            )

    def _message(self, error: Exception) -> str:
        return self._redact(f"{type(error).__name__}: {error}".rstrip(": "))

    def _rejection(self, response: _Response) -> Rejected:
        body = response.json()
        body = body if isinstance(body, dict) else {}
        title, detail = (replies.error_text(body.get(name)) for name in ("title", "detail"))
        return Rejected(
            response.status,
            self._redact(title),
            self._redact(detail),
            replies.retry_after_seconds(body.get("retry_after"), detail, response.headers),
        )

    def _own_path(self, url: str) -> str | None:
        """A next page's path, asked for at our own base URL: the token goes to no other host, and
        a proxy need not rewrite what it passes on. None where it is no list of predictions."""
        try:
            parts = urlsplit(url)
        except ValueError:
            return None
        if not parts.path.endswith(LIST_PATH) or not parts.query or not parts.query.isascii():
            return None
        return f"{LIST_PATH}?{parts.query}"


def _list_path(since: datetime) -> str:
    return f"{LIST_PATH}?created_after={quote(since.isoformat())}"


def _json(body: object) -> bytes:
    return json.dumps(body, ensure_ascii=False, allow_nan=False).encode()


@contextmanager
def _timed(operation: str) -> Iterator[None]:
    with metrics.REPLICATE_REQUEST_SECONDS.labels(operation).time():
        yield
