"""What a browser is answered, whatever it asks and whatever the database does."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar
from xml.etree import ElementTree

import psycopg
import pytest
from prometheus_client import CollectorRegistry

from imagegen.config.settings import Settings
from imagegen.database.connection import Connection
from imagegen.database.revision import NotMigratedError
from imagegen.database.tables import Tables
from imagegen.sandbox.placeholder_png import placeholder_png
from imagegen.web import app, stats
from imagegen.web.app import App, read_image
from imagegen.web.database_thread import DatabaseThread
from imagegen.web.rendering import ICON_PATH
from imagegen.web.responses import Response
from imagegen.web.snapshot import STATEMENT_TIMEOUT_MILLISECONDS
from imagegen.web.stats import StatsCollector
from tests.support.page_values import Read
from tests.support.settings import load
from tests.unit.metrics.test_workers import OURS, metrics

T = TypeVar("T")

PASSWORD = "s3cret-password"
PNG = placeholder_png("a cat", 1)


class AwayDatabase(DatabaseThread):
    """One that fails in some way at every question."""

    def __init__(self, fail: Callable[[], Exception]) -> None:
        super().__init__(settings().database_url, "test")
        self._fail = fail

    def ask(self, question: Callable[[Connection, Tables], T], timeout_seconds: float) -> T:
        raise self._fail()


def settings(**more: str) -> Settings:
    environment = {
        "DATABASE_URL": f"postgresql://imagegen:{PASSWORD}@db:5432/imagegen",
        "REPLICATE_API_TOKEN": "r8_token",
    }
    return load(environment | more, {})


def page(
    database: DatabaseThread,
    shared: CollectorRegistry | None = None,
    supervisor_silent_seconds: float = 0.0,
    **more: str,
) -> App:
    return App(
        settings(**more),
        f"{OURS}:exporter.1",
        shared or CollectorRegistry(),
        database,
        lambda: supervisor_silent_seconds,
    )


def get(app: App, target: str, method: str = "GET", **headers: str) -> Response:
    """What a WSGI server sends for a request. `headers` as in its environ: HTTP_HOST."""
    path, _, query = target.partition("?")
    # A server reads bytes as Latin-1.
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path.encode().decode("latin-1"), **headers}
    sent: list[tuple[HTTPStatus, dict[str, str]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], *_: object) -> Any:
        sent.append((HTTPStatus(int(status[:3])), dict(headers)))

    body = b"".join(app({**environ, "QUERY_STRING": query}, start_response))
    ((status, sent_headers),) = sent
    return Response(status, body, sent_headers["Content-Type"], sent_headers)


@pytest.fixture
def hanging() -> Iterator[DatabaseThread]:
    """A database that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"postgresql://127.0.0.1:{listening.getsockname()[1]}/imagegen"
        yield DatabaseThread(url, "test")


def test_a_database_that_hangs_delays_a_page_only_so_long(
    hanging: DatabaseThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert app.DATABASE_TIMEOUT_SECONDS <= 2
    monkeypatch.setattr(app, "DATABASE_TIMEOUT_SECONDS", 0.1)
    shown = page(hanging)

    for target in ("/", "/?image=1", "/"):
        began = time.monotonic()
        answer = get(shown, target)
        assert time.monotonic() - began < 5
        assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE
        assert "no answer within 0.1 s." in Read(answer.body.decode()).text.lower()


def test_a_database_that_hangs_delays_a_scrape_only_so_long(
    hanging: DatabaseThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stats, "DATABASE_TIMEOUT_SECONDS", 0.1)
    began = time.monotonic()

    up, waited = StatsCollector(hanging, settings()).collect()

    assert (up.name, up.samples[0].value) == ("imagegen_database_up", 0)
    assert waited.samples[0].value >= 0.1
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("error", "is_up"),
    [
        (psycopg.errors.QueryCanceled("canceling statement due to statement timeout"), 1),
        (psycopg.OperationalError(f"no {PASSWORD} here\nmore of it"), 0),
        (NotMigratedError("run `imagegen db upgrade`"), 0),
    ],
)
def test_a_scrape_without_figures_says_whether_the_database_answered_and_why_not_once(
    error: Exception, is_up: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    away = AwayDatabase(lambda: error)
    collector = StatsCollector(away, settings())

    for _ in range(3):
        up, _ = collector.collect()
        assert up.samples[0].value == is_up
    [line] = caplog.records

    assert line.message == "metrics.figures.missing"
    assert line.__dict__["error"] == " ".join(str(error).split()).replace(PASSWORD, "[hidden]")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (psycopg.OperationalError("connection refused\nmore of it"), "Connection refused."),
        (psycopg.errors.UndefinedTable("no such table"), "No such table."),
        (NotMigratedError("run `imagegen db upgrade`"), "Run `imagegen db upgrade`."),
        (psycopg.OperationalError(f"no {PASSWORD} here"), "No [hidden] here."),
    ],
)
def test_a_page_without_a_database_says_why_and_shows_the_workers(
    error: Exception, told: str
) -> None:
    shared = metrics(processes=1, wanted=2, pids={"worker-1": 101})
    answer = get(page(AwayDatabase(lambda: error), shared), "/")
    read = Read(answer.body.decode())

    assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE
    assert f"{told} Workers wait for the database" in read.text
    assert "worker-0 not running unknown 0" in read.text
    assert "worker-1 running unknown 0" in read.text
    assert PASSWORD not in answer.body.decode()


def test_a_database_that_counts_for_too_long_is_not_called_away() -> None:
    error = psycopg.errors.QueryCanceled("canceling statement due to statement timeout")
    answer = get(page(AwayDatabase(lambda: error)), "/")
    read = Read(answer.body.decode())

    assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE
    assert "<title>imagegen: the database is too slow</title>" in answer.body.decode()
    assert "It answers, but counting took longer than 1.5 s." in read.text
    assert "does not answer" not in read.text


def test_a_slow_statement_ends_before_patience_does() -> None:
    assert STATEMENT_TIMEOUT_MILLISECONDS < 1000 * app.DATABASE_TIMEOUT_SECONDS


def test_the_icon_is_there_and_need_not_be_asked_for_again() -> None:
    shown = page(AwayDatabase(AssertionError))
    icon = get(shown, ICON_PATH)

    assert (icon.status, icon.content_type) == (HTTPStatus.OK, "image/svg+xml")
    assert ElementTree.fromstring(icon.body).tag == "{http://www.w3.org/2000/svg}svg"
    assert "immutable" in icon.headers["Cache-Control"]


def test_an_image_that_is_not_there_leads_back_to_a_page_that_stays_paused() -> None:
    answer = get(page(AwayDatabase(AssertionError)), "/?paused&image=x")

    assert "/?paused" in [link["href"] for link in Read(answer.body.decode()).all("a")]


@pytest.mark.parametrize(
    "target",
    [
        "/nothing", "/images/", "/images/1", "/images/../../etc/passwd", "/images/1.png", "//",
        "/images/%31", "/images/\u0661", "/images/-1", f"/images/{'9' * 30}", "*", "/index.html",
    ],
)  # fmt: skip
def test_what_is_not_there_is_not_found(target: str) -> None:
    assert get(page(AwayDatabase(AssertionError)), target).status == HTTPStatus.NOT_FOUND


@pytest.mark.parametrize("image", ["", "abc", "0", "-1", "1;DROP TABLE", "9" * 30, "1'--"])
def test_an_image_that_cannot_be_is_not_even_looked_for(image: str) -> None:
    answer = get(page(AwayDatabase(AssertionError)), f"/?image={image}")

    assert answer.status == HTTPStatus.NOT_FOUND
    assert "There is no such image." in answer.body.decode()


def test_a_kept_image_is_read_with_its_type_wherever_the_folder_is_now(tmp_path: Path) -> None:
    (tmp_path / "1-7.png").write_bytes(PNG)

    assert read_image(tmp_path, "/elsewhere/1-7.png") == (PNG, "image/png")


def test_nothing_is_read_outside_the_folder_nor_what_is_no_image(tmp_path: Path) -> None:
    folder, outside = tmp_path / "kept", tmp_path / "outside.png"
    folder.mkdir()
    outside.write_bytes(PNG)
    (folder / "link.png").symlink_to(outside)
    (folder / "folder.png").mkdir()
    (folder / "page.png").write_text("<script>alert(1)</script>")
    os.mkfifo(folder / "pipe.png")

    for path in (
        str(outside), "../outside.png", "..", ".", "", "/", "link.png", "folder.png", "page.png",
        "pipe.png", "missing.png",
    ):  # fmt: skip
        assert read_image(folder, path) is None, path


@pytest.mark.parametrize("method", ["POST", "OPTIONS", "BREW"])
def test_nothing_can_be_changed(method: str) -> None:
    answer = get(page(AwayDatabase(AssertionError)), "/healthz", method)

    assert answer.status == HTTPStatus.METHOD_NOT_ALLOWED
    assert answer.headers["Allow"] == "GET, HEAD"


def test_a_head_has_the_headers_of_a_get_and_no_body() -> None:
    shown = page(AwayDatabase(AssertionError))
    head = get(shown, ICON_PATH, "HEAD")

    assert head == replace(get(shown, ICON_PATH), body=b"")
    assert int(head.headers["Content-Length"]) > 0


def test_a_defect_is_logged_and_answered(caplog: pytest.LogCaptureFixture) -> None:
    answer = get(page(AwayDatabase(AssertionError)), "/")

    assert answer.status == HTTPStatus.INTERNAL_SERVER_ERROR
    assert [record.message for record in caplog.records] == ["exporter.request.failed"]


def test_it_is_healthy_while_the_supervisor_goes_on() -> None:
    answer = get(page(AwayDatabase(AssertionError), supervisor_silent_seconds=6.0), "/healthz")

    assert (answer.status, answer.body) == (HTTPStatus.OK, b"ok\n")


def test_a_supervisor_that_stands_still_is_unhealthy() -> None:
    answer = get(page(AwayDatabase(AssertionError), supervisor_silent_seconds=25.0), "/healthz")

    assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE
    assert answer.body == b"the supervisor has stood still for 25 s\n"


def test_metrics_are_text_of_the_version_that_scrapers_know() -> None:
    away = AwayDatabase(lambda: psycopg.OperationalError("refused"))
    shared = metrics(processes=1, wanted=2, pids={})
    answer = get(page(away, shared), "/metrics")

    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert b"imagegen_workers 1.0\n" in answer.body
