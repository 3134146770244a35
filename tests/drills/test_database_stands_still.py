"""A database that accepts and never answers is waited for: no process is taken to hang."""

import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.drills.stage import Stage, stage
from tests.support.judge import judge
from tests.support.processes import Site, wait_for
from tests.support.proxy import Proxy

TOKENS = 24
WATCHDOG_SECONDS = 5.0
# Longer than the watchdog allows, and than any statement takes.
STANDSTILL_SECONDS = 8.0
SETTINGS = {
    "IMAGEGEN_WATCHDOG_SECONDS": str(WATCHDOG_SECONDS),
    "IMAGEGEN_LEASE_SECONDS": "3",
}

BOTH = Counter(["worker-0", "worker-1"])

Standstill = Callable[[Stage], contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def commits_wait_for_a_standby(place: Stage) -> Iterator[None]:
    set_standbys(place, "ghost")
    try:
        yield
    finally:
        set_standbys(place, "")


def set_standbys(place: Stage, names: str) -> None:
    with psycopg.connect(place.server.url, autocommit=True) as connection:
        connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        connection.execute("SELECT pg_reload_conf()")


@contextlib.contextmanager
def sessions_stand_still(place: Stage) -> Iterator[None]:
    """New sessions work."""
    sql = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
    with psycopg.connect(place.server.url, autocommit=True) as connection:
        pids = [pid for (pid,) in connection.execute(sql) if pid != connection.info.backend_pid]
    with stopped(pids):
        yield


@contextlib.contextmanager
def the_server_stands_still(place: Stage) -> Iterator[None]:
    """Its kernel accepts connections."""
    assert place.server.pid
    children = Path(f"/proc/{place.server.pid}/task/{place.server.pid}/children")
    with stopped([place.server.pid, *map(int, children.read_text().split())]):
        yield


@contextlib.contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def a_proxy_keeps_all_bytes(place: Stage) -> Iterator[None]:
    """What was sent to it arrives afterwards."""
    PROXIES[place.site.database_url].freeze()
    try:
        yield
    finally:
        PROXIES[place.site.database_url].thaw()


PROXIES: dict[str, Proxy] = {}


@contextlib.contextmanager
def with_a_proxy(site: Site) -> Iterator[None]:
    site.settings |= SETTINGS
    with Proxy(site.database_port) as proxy:
        site.database_url = site.behind(proxy.port).database_url
        PROXIES[site.database_url] = proxy
        yield


@pytest.mark.parametrize(
    "standstill",
    [
        commits_wait_for_a_standby,
        sessions_stand_still,
        the_server_stands_still,
        a_proxy_keeps_all_bytes,
    ],
)
def test_work_waits_for_a_database_that_stands_still_and_goes_on(
    standstill: Standstill, tmp_path: Path
) -> None:
    with stage(tmp_path, with_a_proxy) as place:
        place.mint(TOKENS)
        wait_for("work", lambda: len(place.sandbox.predictions.paid()) >= 3)
        with standstill(place):
            ends_at = time.monotonic() + STANDSTILL_SECONDS
            if standstill is not sessions_stand_still:
                wait_for("both to notice", lambda: reports(place, "unavailable") >= BOTH)
                assert "worker-0 waits for the database" in probe(place, "/readyz").text
            while time.monotonic() < ends_at:
                assert probe(place, "/healthz").is_success
                probe(place, "/readyz")
                time.sleep(0.2)
        wait_for("every token to end", lambda: place.unfinished() == 0)
        wait_for("readiness", lambda: probe(place, "/readyz").text == "ok\n")

        assert place.program.events("process.hung") == []
        assert place.program.events("process.died") == []
        assert set(reports(place, "unavailable").values()) == {1}
        assert reports(place, "available") == reports(place, "unavailable")
        judge(place.site, place.sandbox)


def reports(place: Stage, what: str) -> Counter[str]:
    """Return how often each process has said that the database is away, or back."""
    return Counter(line["worker"] for line in place.program.events(f"database.{what}"))


def probe(place: Stage, path: str) -> httpx.Response:
    url = place.program.metrics_url().replace("/metrics", path)
    return httpx.get(url, trust_env=False, timeout=5.0)
