"""The process that serves /metrics, /healthz and /readyz. Whatever happens to it, workers go on."""

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from imagegen.database import AWAY, Connection, Tables, connect, read_tables
from imagegen.logs import log
from imagegen.settings import Settings

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# A scrape waits 10 s by default; the database gets half of it.
STATEMENT_TIMEOUT_MILLISECONDS = 5000

# Images that nobody has fetched for a day are long gone: Replicate deletes them after an hour.
TOKENS = """
SELECT lower(t.status::text), count(*)::float FROM tokens_s0 t GROUP BY 1"""
AGES = """
SELECT
    (SELECT extract(epoch FROM now() - min({minted_at}))::float FROM tokens_s0 t
     WHERE t.status = {detected}),
    (SELECT extract(epoch FROM now() - min(g.closed_at))::float
     FROM generations g JOIN tokens_s0 t USING (token_id)
     WHERE g.closed_at > now() - interval '1 day' AND g.state = 'succeeded'
        AND t.status = {uploading})"""


LAST_DAY = """
SELECT count(*)::float, coalesce(sum(images), 0)::float FROM generations
WHERE requested_at > now() - interval '24 hours' AND prediction_id IS NOT NULL"""


@dataclass(frozen=True)
class Asked:
    """What only the database knows."""

    tokens: list[tuple[str, float]]  # by status
    oldest_waiting_seconds: float
    oldest_unfetched_seconds: float
    predictions_last_day: float
    images_last_day: float


def serve(
    listening: socket.socket, settings: Settings, name: str, beat: Callable[[], None]
) -> None:
    """Serve on a socket that listens already, until a signal ends the process; `beat` tells the
    watchdog that it still does."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    Server(listening, registry, DatabaseCollector(settings, name), beat).serve_forever()


class DatabaseCollector(Collector):
    """What only the database knows, asked when it is scraped, over one connection."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings = settings
        self._name = name
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._tables: Tables | None = None

    def collect(self) -> Iterator[Metric]:
        """Nothing while the database is away: the other metrics are served all the same."""
        try:
            asked = self.ask()
        except AWAY:
            return
        tokens = GaugeMetricFamily("imagegen_tokens", "Tokens, by status.", labels=["status"])
        for status, count in asked.tokens:
            tokens.add_metric([status], count)
        yield tokens
        yield GaugeMetricFamily(
            "imagegen_oldest_waiting_seconds",
            "Since the mint of the oldest waiting token.",
            asked.oldest_waiting_seconds,
        )
        yield GaugeMetricFamily(
            "imagegen_oldest_unfetched_seconds",
            "Age of the oldest image that nobody has taken on; Replicate deletes it after an hour.",
            asked.oldest_unfetched_seconds,
        )
        yield GaugeMetricFamily(
            "imagegen_predictions_last_day",
            "Predictions that Replicate accepted in the last 24 hours, over all hosts.",
            asked.predictions_last_day,
        )
        yield GaugeMetricFamily(
            "imagegen_images_last_day",
            "Images made in the last 24 hours, over all hosts.",
            asked.images_last_day,
        )
        if self._settings.daily_limit is not None:
            yield GaugeMetricFamily(
                "imagegen_daily_limit",
                "Predictions allowed in any 24 hours.",
                self._settings.daily_limit,
            )
        if self._settings.price is not None:
            yield GaugeMetricFamily(
                "imagegen_price", "What an image costs, as it was set.", self._settings.price
            )

    def ask(self) -> Asked:
        """Raises one of database.AWAY."""
        with self._lock:
            try:
                connection, tables = self._connected()
                words = tables.labels | {"minted_at": tables.minted_at}
                with connection.transaction():
                    timeout = STATEMENT_TIMEOUT_MILLISECONDS
                    connection.execute(f"SET LOCAL statement_timeout = {timeout}")
                    counts = connection.execute(TOKENS).fetchall()
                    ages = connection.execute(AGES.format(**words)).fetchone() or (None, None)
                    spent = connection.execute(LAST_DAY).fetchone() or (0, 0)
            except AWAY:
                self._connection = None
                raise
        return Asked(
            [(str(name), float(count)) for name, count in counts],
            float(ages[0] or 0.0),
            float(ages[1] or 0.0),
            float(spent[0]),
            float(spent[1]),
        )

    def _connected(self) -> tuple[Connection, Tables]:
        if self._connection is None or self._tables is None:
            self._connection = connect(self._settings.database_url, self._name)
            self._tables = read_tables(self._connection)
        return self._connection, self._tables


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(
        self,
        listening: socket.socket,
        registry: CollectorRegistry,
        database: DatabaseCollector,
        beat: Callable[[], None],
    ) -> None:
        super().__init__(listening.getsockname()[:2], Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.shared = registry
        self.database = database
        self._beat = beat

    def service_actions(self) -> None:
        """Called twice a second, between requests."""
        self._beat()

    def metrics(self) -> bytes:
        everything = CollectorRegistry()
        everything.register(self.database)
        return bytes(generate_latest(self.shared) + generate_latest(everything))

    def handle_error(self, request: object, client_address: object) -> None:
        log.warning("exporter.request.failed", exc_info=True)

    def unready(self) -> list[str]:
        """Why no token would be turned into an image now; empty when all is well."""
        why = []
        try:
            self.database.ask()
        except AWAY as error:
            why.append("database: " + str(error).partition("\n")[0])
        if not sum(sample.value for sample in self._samples("imagegen_workers")):
            why.append("no worker is alive")
        for sample in self._samples("imagegen_gate_closed"):
            if sample.value:
                slot, reason = sample.labels["slot"], sample.labels["reason"]
                why.append(f"the gate of {slot} is closed: {reason}")
        return why

    def _samples(self, name: str) -> list[Sample]:
        gauges = [metric for metric in self.shared.collect() if metric.name == name]
        return [sample for metric in gauges for sample in metric.samples]


class Handler(BaseHTTPRequestHandler):
    server: Server
    server_version = "imagegen"
    sys_version = ""
    timeout = 10.0  # seconds that a client may be silent

    def do_GET(self) -> None:
        match self.path.partition("?")[0]:
            case "/metrics":
                self._answer(HTTPStatus.OK, self.server.metrics(), CONTENT_TYPE)
            case "/healthz":
                self._answer(HTTPStatus.OK, b"ok\n")
            case "/readyz":
                why = self.server.unready()
                status = HTTPStatus.SERVICE_UNAVAILABLE if why else HTTPStatus.OK
                self._answer(status, ("\n".join(why or ["ok"]) + "\n").encode())
            case _:
                paths = b"/metrics, /healthz or /readyz\n"
                self._answer(HTTPStatus.NOT_FOUND, paths)

    def _answer(
        self, status: HTTPStatus, body: bytes, content_type: str = "text/plain; charset=utf-8"
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (http.server's name)
        """A scrape every few seconds is no news."""
