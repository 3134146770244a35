"""What the status page, a token's page, a search and /metrics cost with many tokens."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from prometheus_client import CollectorRegistry

from imagegen.web.app import App
from imagegen.web.database_thread import DatabaseThread
from tests.support.sandbox import DEFAULT_TOKEN
from tests.support.settings import load

LOOKS = 20
NAME = "imagegen-benchmark:exporter.1"


@dataclass(frozen=True)
class Looks:
    """Milliseconds until the whole answer is there, median."""

    page: float
    metrics: float
    token: float
    search: float


def measure(database_url: str) -> Looks:
    settings = load({"DATABASE_URL": database_url, "REPLICATE_API_TOKEN": DEFAULT_TOKEN}, {})
    database = DatabaseThread(database_url, NAME)
    app = App(settings, NAME, CollectorRegistry(), database, lambda: 0.0)

    def look_at_page() -> None:
        assert app.respond("/", "").status == HTTPStatus.OK

    def scrape() -> None:
        assert b"imagegen_tokens{" in app.respond("/metrics", "").body

    def look_at_token() -> None:
        assert app.respond("/tokens/500000", "").status == HTTPStatus.OK

    def search() -> None:
        # Of a status without an index, by an author who has no token: it looks at all it may.
        query = "status=revealed&author=nobody"
        assert b"tokens were looked at" in app.respond("/tokens", query).body

    looks = (look_at_page, scrape, look_at_token, search)
    return Looks(*map(_milliseconds, looks))


def _milliseconds(look: Callable[[], None]) -> float:
    look()  # the first one connects
    taken = []
    for _ in range(LOOKS):
        began = time.perf_counter()
        look()
        taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken)
