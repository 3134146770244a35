"""What a status page may have to show, with a default for everything that a test does not name."""

from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

from imagegen.metrics.workers import WorkerRow
from imagegen.operator.acts import Act
from imagegen.operator.token_commands import Command
from imagegen.operator.tokens import Generation, Token, TokenHistory
from imagegen.web import image_sources
from imagegen.web.rendering import render
from imagegen.web.search import Found, FoundToken
from imagegen.web.snapshot import (
    BUCKET_SECONDS,
    BUCKETS,
    Bucket,
    Details,
    Failure,
    Picture,
    Snapshot,
)
from imagegen.web.status_page import StatusPage
from imagegen.web.token_page import TokenPage, TokenStory

NOW = 1_764_000_000.0  # Unix time, a full hour
FIRST = NOW - (BUCKETS - 1) * BUCKET_SECONDS


def picture(**known: Any) -> Picture:
    values: dict[str, Any] = {
        "generation_id": 7,
        "token_id": 42,
        "prompt": "a lighthouse",
        "fallback": False,
        "url": "https://replicate.delivery/xezq/out-0.webp",
        "path": None,
        "handed_on_url": None,
        "closed_at": NOW - 60,
        "age_seconds": 60.0,
    }
    return Picture(**(values | known))


def details(**known: Any) -> Details:
    values: dict[str, Any] = {
        "picture": picture(),
        "attempt": 1,
        "model": "black-forest-labs/flux-schnell",
        "seed": 1,
        "prediction_id": "abc",
        "seconds": 2.0,
        "newer": None,
        "older": None,
    }
    return Details(**(values | known))


def failure(**known: Any) -> Failure:
    values: dict[str, Any] = {
        "token_id": 43,
        "attempts": 3,
        "prompt": "a lighthouse",
        "message": "Director: unexpected error (E6716)",
        "kind": "transient",
        "refused": False,
        "closed_at": NOW - 60,
        "age_seconds": 60.0,
    }
    return Failure(**(values | known))


def buckets(**filled: Bucket) -> list[Bucket]:
    """The empty buckets of the last hours, some of them filled: `b3` is the fourth."""
    empty = [Bucket(FIRST + index * BUCKET_SECONDS) for index in range(BUCKETS)]
    return [filled.get(f"b{index}", bucket) for index, bucket in enumerate(empty)]


def snapshot(**known: Any) -> Snapshot:
    values: dict[str, Any] = {
        "now": NOW,
        "waiting": 0,
        "oldest_waiting_seconds": None,
        "paused": 0,
        "held": 0,
        "pause": None,
        "generating": 0,
        "failed": 0,
        "tokens": 0,
        "unfetched": 0,
        "oldest_unfetched_seconds": None,
        "closings_refused": 0,
        "tokens_by_worker": {},
        "total": Bucket(FIRST),
        "buckets": buckets(),
        "pictures": [],
        "failures": [],
        "failure_kinds": [],
    }
    return Snapshot(**(values | known))


def worker(slot: str, **known: Any) -> WorkerRow:
    """One that is alive and has nothing to do."""
    return WorkerRow(slot, **{"pid": 100} | known)


def view(now: Snapshot | None = None, **known: Any) -> StatusPage:
    values: dict[str, Any] = {
        "now": now or snapshot(),
        "workers": [worker("worker-0"), worker("worker-1")],
        "busy_elsewhere": 0,
        "slots": 10,
        "copies": False,
        "home": image_sources.HOME,
    }
    return StatusPage(**(values | known))


def whole_page(shown: StatusPage) -> str:
    return render("status.mako", title=shown.title, page=shown).decode()


def image_page(shown: Details, title: str = "image", home: str = image_sources.HOME) -> str:
    return render("image.mako", title=title, details=shown, copies=False, home=home).decode()


class Read(HTMLParser):
    """What a browser makes of a page: its elements with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.pieces: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.pieces).split())

    @property
    def shape(self) -> list[tuple[str, list[str]]]:
        """The elements with the names of their attributes, in their order."""
        return [(tag, list(attributes)) for tag, attributes in self.elements]

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page(now: Snapshot | None = None) -> Read:
    return Read(whole_page(view(now)))


def token(**known: Any) -> Token:
    values: dict[str, Any] = {
        "token_id": 42,
        "author": "0xAb",
        "author_prompt": "a lighthouse",
        "status": "uploading",
        "created_at": "2026-11-30T12:00:00+00:00",
        "age_seconds": 60.0,
        "generation_attempts": 1,
        "generation_error": None,
        "generate_after": None,
        "image_url": "https://replicate.delivery/xezq/out-0.webp",
        "error_kind": None,
    }
    return Token(**(values | known))


def generation(**known: Any) -> Generation:
    """One that made an image a minute ago."""
    values: dict[str, Any] = dict.fromkeys(field.name for field in fields(Generation)) | {
        "id": 7,
        "attempt": 1,
        "state": "succeeded",
        "prompt": "a lighthouse",
        "fallback": False,
        "model": "black-forest-labs/flux-schnell",
        "seed": 1,
        "prediction_id": "abc",
        "opened_at": datetime.fromtimestamp(NOW - 62, UTC).isoformat(),
        "closed_at": datetime.fromtimestamp(NOW - 60, UTC).isoformat(),
        "duration_seconds": 2.0,
        "image_url": "https://replicate.delivery/xezq/out-0.webp",
        "lease_until": "2026-11-30T12:00:00+00:00",
        "refusals": 0,
    }
    return Generation(**(values | known))


def token_view(
    *generations: Generation,
    shown: Token | None = None,
    acts: Sequence[Act] = (),
    commands: Sequence[Command] = (),
    why_no_retry: str | None = None,
    copies: bool = False,
    base: str | None = None,
) -> TokenPage:
    history = TokenHistory(shown, [*generations], is_truncated=False, acts=[*acts])
    return TokenPage(TokenStory(42, NOW, history, [*commands], why_no_retry), copies, base)


def token_page(shown: TokenPage) -> Read:
    return Read(render("token.mako", title=shown.title, page=shown).decode())


def found_token(**known: Any) -> FoundToken:
    values: dict[str, Any] = {
        "token_id": 42,
        "author": "0xAb",
        "status": "failed",
        "is_held": False,
        "attempts": 3,
        "prompt": "a lighthouse",
        "message": "Director: unexpected error (E6716)",
        "kind": "transient",
        "refused": False,
        "minted_at": NOW - 60,
        "age_seconds": 60.0,
    }
    return FoundToken(**(values | known))


def found_page(found: Found, problem: str | None = None) -> Read:
    return Read(render("tokens.mako", title="tokens", found=found, problem=problem).decode())
