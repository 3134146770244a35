"""What a browser is answered, whatever it asks and whatever the database does."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar
from xml.etree import ElementTree

import psycopg
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from imagegen.config.settings import Settings, load
from imagegen.database.connection import Connection
from imagegen.database.revision import NotMigratedError
from imagegen.database.tables import Tables
from imagegen.metrics.workers import Place, held_elsewhere, read_places
from imagegen.sandbox.placeholder_png import placeholder_png
from imagegen.web import app, database_thread
from imagegen.web.app import Page, read_image
from imagegen.web.database_thread import DatabaseCollector
from imagegen.web.document import ICON_PATH
from imagegen.web.snapshot import STATEMENT_TIMEOUT_MILLISECONDS
from tests.support.page_values import Read

T = TypeVar("T")

PASSWORD = "s3cret-password"
PNG = placeholder_png("a cat", 1)
OURS = "host:1-ab"


class AwayDatabase:
    """One that fails in some way at every question."""

    def __init__(self, fail: Callable[[], Exception]) -> None:
        self._fail = fail

    def ask(self, question: Callable[[Connection, Tables], T], patience_seconds: float) -> T:
        raise self._fail()


def settings(**more: str) -> Settings:
    environment = {
        "DATABASE_URL": f"postgresql://imagegen:{PASSWORD}@db:5432/imagegen",
        "REPLICATE_API_TOKEN": "r8_token",
    }
    return load(environment | more, {})


def page(database: app.Database, shared: CollectorRegistry | None = None, **more: str) -> Page:
    return Page(settings(**more), f"{OURS}:exporter.1", shared or CollectorRegistry(), database)


@pytest.fixture
def hanging() -> Iterator[DatabaseCollector]:
    """A database that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"postgresql://127.0.0.1:{listening.getsockname()[1]}/imagegen"
        yield DatabaseCollector(settings(DATABASE_URL=url), "test")


def test_a_database_that_hangs_delays_a_page_only_so_long(
    hanging: DatabaseCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert app.PATIENCE_SECONDS <= 2
    monkeypatch.setattr(app, "PATIENCE_SECONDS", 0.1)
    shown = page(hanging)

    for target in ("/", "/?image=1", "/"):
        began = time.monotonic()
        answer = shown.answer(target)
        assert time.monotonic() - began < 5
        assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE
        assert "no answer within 0.1 s." in Read(answer.body.decode()).text.lower()


def test_a_database_that_hangs_delays_a_scrape_only_so_long(
    hanging: DatabaseCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_thread, "PATIENCE_SECONDS", 0.1)
    began = time.monotonic()

    assert list(hanging.collect()) == []
    assert time.monotonic() - began < 5


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
    shared = metrics(processes=1, wanted=2, is_open={"worker-1": 1})
    answer = page(AwayDatabase(lambda: error), shared).answer("/")
    read = Read(answer.body.decode())

    assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE
    assert f"{told} Workers wait for the database" in read.text
    assert "worker-0 not running unknown 0" in read.text
    assert "worker-1 running unknown 0" in read.text
    assert PASSWORD not in answer.body.decode()


def test_a_database_that_counts_for_too_long_is_not_called_away() -> None:
    error = psycopg.errors.QueryCanceled("canceling statement due to statement timeout")
    answer = page(AwayDatabase(lambda: error)).answer("/")
    read = Read(answer.body.decode())

    assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE
    assert "<title>imagegen: the database is too slow</title>" in answer.body.decode()
    assert "It answers, but counting took longer than 1.5 s." in read.text
    assert "does not answer" not in read.text


def test_a_slow_statement_ends_before_patience_does() -> None:
    assert STATEMENT_TIMEOUT_MILLISECONDS < 1000 * app.PATIENCE_SECONDS


def test_the_icon_is_there_and_need_not_be_asked_for_again() -> None:
    shown = page(AwayDatabase(AssertionError))
    icon = shown.answer(ICON_PATH)

    assert (icon.status, icon.content_type) == (HTTPStatus.OK, "image/svg+xml")
    assert ElementTree.fromstring(icon.body).tag == "{http://www.w3.org/2000/svg}svg"
    assert "immutable" in icon.headers["Cache-Control"]


def test_an_image_that_is_not_there_leads_back_to_a_page_that_stays_paused() -> None:
    answer = page(AwayDatabase(AssertionError)).answer("/?paused&image=x")

    assert "/?paused" in [link["href"] for link in Read(answer.body.decode()).all("a")]


@pytest.mark.parametrize(
    "target",
    [
        "/nothing", "/images/", "/images/1", "/images/../../etc/passwd", "/images/1.png", "//",
        "/images/%31", "/images/\u0661", "/images/-1", f"/images/{'9' * 30}", "*", "/index.html",
    ],
)  # fmt: skip
def test_what_is_not_there_is_not_found(target: str) -> None:
    assert page(AwayDatabase(AssertionError)).answer(target).status == HTTPStatus.NOT_FOUND


@pytest.mark.parametrize("image", ["", "abc", "0", "-1", "1;DROP TABLE", "9" * 30, "1'--"])
def test_an_image_that_cannot_be_is_not_even_looked_for(image: str) -> None:
    answer = page(AwayDatabase(AssertionError)).answer(f"/?image={image}")

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


def metrics(processes: int, wanted: int, is_open: dict[str, int]) -> CollectorRegistry:
    """What a supervisor tells of its workers: how many live, how many should, and the gates of
    those that have begun."""
    shared = CollectorRegistry()
    Gauge("imagegen_workers", "", registry=shared).set(processes)
    Gauge("imagegen_workers_wanted", "", registry=shared).set(wanted)
    gates = Gauge("imagegen_gate_open", "", ["slot"], registry=shared)
    for slot, value in is_open.items():
        gates.labels(slot).set(value)
    return shared


def test_places_are_what_metrics_and_the_ledger_tell_of_them() -> None:
    shared = metrics(processes=2, wanted=2, is_open={"worker-0": 0, "worker-1": 1})
    closed = Gauge("imagegen_gate_closed", "", ["slot", "reason"], registry=shared)
    restarts = Counter("imagegen_worker_restarts", "", ["slot", "cause"], registry=shared)
    closed.labels("worker-0", "no_credit").set(1)
    closed.labels("worker-0", "throttled").set(0)
    restarts.labels("worker-1", "SIGKILL").inc(2)
    held = {f"{OURS}:worker-1.1": 2, f"{OURS}:worker-1.2": 1, "other:1-cd:worker-0.1": 5, "": 4}

    assert read_places(shared, OURS, held) == [
        Place("worker-0", True, ("no_credit",), 0),
        Place("worker-1", True, (), 3, {"SIGKILL": 2}),
    ]
    assert held_elsewhere(held, OURS) == 5


def test_a_place_that_was_given_up_is_none_however_often_it_was_filled_before() -> None:
    shared = metrics(processes=1, wanted=1, is_open={"worker-0": 1})
    restarts = Counter("imagegen_worker_restarts", "", ["slot", "cause"], registry=shared)
    restarts.labels("worker-1", "hung").inc()

    assert read_places(shared, OURS, {}) == [Place("worker-0", True, (), 0)]


def test_a_worker_that_is_on_its_way_out_is_still_there() -> None:
    shared = metrics(processes=2, wanted=1, is_open={"worker-0": 1, "worker-1": 1})

    assert [place.slot for place in read_places(shared, OURS, {})] == ["worker-0", "worker-1"]


def test_who_waits_to_be_started_again_is_missing_and_who_has_just_been_started_is_not() -> None:
    began = {"worker-0": 1}

    _, dead = read_places(metrics(processes=1, wanted=2, is_open=began), OURS, None)
    _, new = read_places(metrics(processes=2, wanted=2, is_open=began), OURS, None)

    assert dead == Place("worker-1", False)
    assert new == Place("worker-1", False, starting=True)


def test_one_that_drains_does_not_stand_in_for_one_that_died() -> None:
    shared = metrics(processes=2, wanted=2, is_open={"worker-0": 1, "worker-2": 1})

    assert Place("worker-1", False) in read_places(shared, OURS, None)
