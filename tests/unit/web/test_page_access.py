"""Nobody sees the page, with its prompts and unrevealed images, whom the operator has not let."""

import base64
from http import HTTPStatus

import psycopg
import pytest
from prometheus_client import CollectorRegistry

from imagegen.web.app import App
from imagegen.web.page_access import is_own_name
from tests.unit.web.test_app import AwayDatabase, get, settings

PASSWORD = "a long pässword"
# The database is away, so a page that may be seen says so.
SEEN = HTTPStatus.SERVICE_UNAVAILABLE


def served(*, is_loopback: bool = True, **more: str) -> App:
    away = AwayDatabase(lambda: psycopg.OperationalError("refused"))
    registry = CollectorRegistry()
    return App(settings(**more), "a:b", registry, away, lambda: 0.0, is_loopback=is_loopback)


def basic(password: str, user: str = "anybody") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def status(app: App, target: str = "/", **headers: str) -> HTTPStatus:
    return get(app, target, **headers).status


def test_on_loopback_the_page_is_served() -> None:
    assert status(served()) == SEEN


@pytest.mark.parametrize(
    "target",
    ["/", "/?image=1", "/?paused", "/images/1", "/tokens", "/tokens/42", "/tokens?author=0xA"],
)
def test_on_another_address_nobody_sees_the_page_unless_it_is_asked_for(target: str) -> None:
    open_to_all = served(is_loopback=False)

    answer = get(open_to_all, target)
    assert answer.status == HTTPStatus.NOT_FOUND
    assert b"IMAGEGEN_PAGE_PASSWORD" in answer.body
    assert status(served(is_loopback=False, IMAGEGEN_PAGE="yes")) == SEEN


def test_metrics_and_probes_are_served_everywhere() -> None:
    closed = served(is_loopback=False, IMAGEGEN_PAGE="no", IMAGEGEN_PAGE_PASSWORD=PASSWORD)

    assert status(closed, "/metrics", HTTP_HOST="evil.example") == HTTPStatus.OK
    assert status(closed, "/healthz", HTTP_HOST="evil.example") == HTTPStatus.OK
    assert b"database: refused" in get(closed, "/readyz", HTTP_HOST="evil.example").body


def test_no_page_at_all_can_be_chosen() -> None:
    closed = served(IMAGEGEN_PAGE="no", IMAGEGEN_PAGE_PASSWORD=PASSWORD)

    assert status(closed, HTTP_AUTHORIZATION=basic(PASSWORD)) == HTTPStatus.NOT_FOUND


@pytest.mark.parametrize("is_loopback", [True, False])
def test_a_password_opens_the_page_on_any_address_under_any_name(*, is_loopback: bool) -> None:
    locked = served(is_loopback=is_loopback, IMAGEGEN_PAGE_PASSWORD=PASSWORD)
    headers = {"HTTP_HOST": "imagegen.example", "HTTP_AUTHORIZATION": basic(PASSWORD)}

    assert status(locked, **headers) == SEEN
    assert status(locked, "/tokens/42", **headers) == SEEN
    assert status(locked, "/tokens/42") == HTTPStatus.UNAUTHORIZED


@pytest.mark.parametrize(
    "authorization",
    [
        "", "Basic", "Basic ", "Basic =", "Basic ä", "Bearer x", basic(""), basic("wrong"),
        basic(PASSWORD + " "), basic(PASSWORD[:-1]), f"Basic {PASSWORD}",
    ],
)  # fmt: skip
def test_a_wrong_password_is_asked_for_again(authorization: str) -> None:
    answer = get(served(IMAGEGEN_PAGE_PASSWORD=PASSWORD), "/", HTTP_AUTHORIZATION=authorization)

    assert answer.status == HTTPStatus.UNAUTHORIZED
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")


def test_a_foreign_site_that_gives_its_name_this_hosts_address_reads_nothing() -> None:
    for app in (served(), served(is_loopback=False, IMAGEGEN_PAGE="yes")):
        for target in ("/", "/tokens", "/tokens/42"):
            assert status(app, target, HTTP_HOST="evil.example:9464") == HTTPStatus.FORBIDDEN


@pytest.mark.parametrize(
    ("host", "is_own"),
    [
        ("", True),
        ("localhost:9464", True),
        ("imagegen.localhost", True),
        ("imagegen:9464", True),
        ("127.0.0.1:9464", True),
        ("[::1]:9464", True),
        ("[::ffff:10.0.0.1]", True),
        ("10.1.2.3", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example:9464", False),
        ("1.2.3", False),
        ("[", False),
    ],
)
def test_addresses_and_local_names_are_no_foreign_sites(host: str, *, is_own: bool) -> None:
    assert is_own_name(host) == is_own
