"""The database cuts connections, hangs or sets tight limits; the tokens are done all the same."""

import contextlib
import time

import psycopg
import pytest

from imagegen.worker.wakeup import Wakeup
from tests.support.judge import judge
from tests.support.processes import Program, Site, wait_for
from tests.support.proxy import Proxy
from tests.support.sandbox import Sandbox

RESET = """
UPDATE tokens_s0 SET status = 'detected', generation_attempts = 0, generation_error = NULL
WHERE token_id = ANY(%s)"""
CUT_ALL = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE pid <> pg_backend_pid() AND datname = current_database()"""


def mint(site: Site, tokens: int, first: int = 1) -> None:
    site.mint(*(f"picture {n}" for n in range(first, first + tokens)), first_token_id=first)


def listeners(site: Site) -> int:
    rows = site.query(
        """SELECT 1 FROM pg_stat_activity
           WHERE starts_with(query, 'LISTEN') AND datname = current_database()"""
    )
    return len(rows)


def wait_until_paid(sandbox: Sandbox, images: int) -> None:
    wait_for(f"{images} images", lambda: len(sandbox.predictions.paid()) >= images)


def workers_without_database(program: Program) -> int:
    return len({line["worker"] for line in program.events("database.unavailable")})


def no_storm(program: Program) -> None:
    assert "Traceback" not in program.log.read_text()


def test_connections_that_are_cut_under_load_lose_nothing(site: Site, sandbox: Sandbox) -> None:
    mint(site, 60)

    with site.supervisor() as program:
        for images in (5, 20, 35, 50):
            wait_until_paid(sandbox, images)
            site.query(CUT_ALL)
        site.wait_until_done()
        no_storm(program)

    judge(site, sandbox)


@pytest.mark.direct
def test_a_listener_looks_at_once_for_mints_from_before_it_listened(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signal.set_wakeup_fd", lambda *_, **__: -1)
    with contextlib.closing(Wakeup(site.database_url, "test")) as wake:
        began = time.monotonic()
        wake.wait(60.0)

    assert time.monotonic() - began < 30.0


@pytest.mark.direct
def test_a_cut_listener_is_rebuilt_and_hears_the_next_mint(site: Site, sandbox: Sandbox) -> None:
    site.settings |= {"POLL_INTERVAL_SECONDS": "60", "IMAGEGEN_WATCHDOG_SECONDS": "600"}
    with site.supervisor():
        wait_for("both to listen", lambda: listeners(site) == 2)
        site.query(CUT_ALL)
        wait_for("both to listen again", lambda: listeners(site) == 2)

        mint(site, 1)
        wait_for("the request", lambda: len(sandbox.ledger.creates()) == 1, seconds=5)


@pytest.mark.direct
def test_tight_timeouts_of_the_database_hurt_nobody(site: Site, sandbox: Sandbox) -> None:
    (name,) = site.query("SELECT current_database()")[0]
    for setting in ("statement_timeout", "idle_in_transaction_session_timeout"):
        site.query(f"ALTER DATABASE {name} SET {setting} = '1s'")
    site.query(f"ALTER DATABASE {name} SET idle_session_timeout = '1s'")
    mint(site, 30)

    with site.supervisor() as program:
        site.wait_until_done()
        mint(site, 10, first=101)
        site.wait_until_done()
        no_storm(program)

    judge(site, sandbox)


def test_an_operators_open_transaction_holds_up_its_tokens_and_no_others(
    site: Site, sandbox: Sandbox
) -> None:
    site.settings |= {"IMAGEGEN_LEASE_SECONDS": "2", "IMAGEGEN_WATCHDOG_SECONDS": "5"}
    sandbox.latency_seconds = 0.5
    mint(site, 12)
    with (
        site.supervisor(procs=1) as program,
        psycopg.connect(site.database_url) as operator,
    ):
        wait_for("work", lambda: len(sandbox.ledger.creates()) >= 5)
        operator.execute(RESET, [[1, 2, 3, 4]])  # more than there are connections
        wait_for("the others", lambda: site.statuses().get("uploading", 0) == 8)
        mint(site, 8, first=101)
        wait_for("those that come later", lambda: site.statuses().get("uploading", 0) == 16)
        operator.commit()

        assert site.wait_until_done() == {"uploading": 20}
        assert program.events("process.hung") == []
        no_storm(program)

    judge(site, sandbox)


def test_a_table_that_somebody_locks_is_waited_for_and_no_worker_is_taken_to_hang(
    site: Site, sandbox: Sandbox
) -> None:
    site.settings |= {"IMAGEGEN_WATCHDOG_SECONDS": "5"}
    mint(site, 12)
    with site.supervisor() as program, psycopg.connect(site.database_url) as operator:
        wait_for("work", lambda: len(sandbox.ledger.creates()) >= 5)
        operator.execute("LOCK TABLE tokens_s0")
        program.wait_for_event("database.unavailable")
        operator.execute("SELECT pg_sleep(8)")  # longer than the watchdog allows
        operator.commit()

        assert site.wait_until_done() == {"uploading": 12}
        assert program.events("process.hung") == []
        no_storm(program)

    judge(site, sandbox)


@pytest.mark.direct
def test_a_database_that_answers_no_more_is_noticed_and_waited_for(
    site: Site, sandbox: Sandbox
) -> None:
    with Proxy(site.database_port) as proxy:
        behind = site.behind(proxy.port)
        behind.settings |= {"IMAGEGEN_WATCHDOG_SECONDS": "10", "IMAGEGEN_TEST_SETTLE_SECONDS": "5"}
        mint(site, 20)
        with behind.supervisor() as program:
            wait_for("work", lambda: len(sandbox.ledger.created()) > 0)
            proxy.freeze()
            wait_for("both workers to notice", lambda: workers_without_database(program) == 2)
            proxy.thaw()
            site.wait_until_done()
            assert program.process.poll() is None
            assert program.events("process.hung") == []
            no_storm(program)

    judge(site, sandbox)
