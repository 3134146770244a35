"""What the status page and /metrics cost where there are many tokens."""

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


def measure(database_url: str) -> Looks:
    settings = load({"DATABASE_URL": database_url, "REPLICATE_API_TOKEN": DEFAULT_TOKEN}, {})
    database = DatabaseThread(database_url, NAME)
    app = App(settings, NAME, CollectorRegistry(), database, lambda: 0.0)

    def look_at_page() -> None:
        assert app.respond("/", "").status == HTTPStatus.OK

    def scrape() -> None:
        assert b"imagegen_tokens{" in app.respond("/metrics", "").body

    return Looks(_milliseconds(look_at_page), _milliseconds(scrape))


def _milliseconds(look: Callable[[], None]) -> float:
    look()  # the first one connects
    taken = []
    for _ in range(LOOKS):
        began = time.perf_counter()
        look()
        taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken)
