"""The status page of a running imagegen, as a browser gets it."""

import signal
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from tests.integration.test_migrations import load_glisk
from tests.support.page_values import Read
from tests.support.processes import Program, Site, wait_for
from tests.support.proxy import Proxy
from tests.support.sandbox import Fault, Sandbox

HOSTILE = '<script>alert("1")</script> & a \u202efish'
HARMLESS = '<script>alert("1")</script> & a �fish'
DOOMED = "Director: unexpected error handling prediction (E6716)"


def get(program: Program, path: str = "/") -> httpx.Response:
    return httpx.get(urljoin(program.metrics_url(), path), trust_env=False, timeout=10)


def read(program: Program, path: str = "/") -> Read:
    return Read(get(program, path).raise_for_status().text)


def test_the_page_shows_images_and_failures_with_their_reasons(
    site: Site, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault.fails("doomed", error=DOOMED), Fault.censors("naughty"))
    site.mint("a lighthouse", "a doomed picture", "a naughty picture", None)

    with site.supervisor() as program:
        site.wait_until_done()
        answer = get(program)
        page = Read(answer.text)

    assert answer.status_code == 200
    assert "<title>imagegen: nothing waits</title>" in answer.text
    assert "Done 2 2 not fetched yet" in page.text
    assert "Failed 2 why" in page.text
    assert "2 images, 5 attempts failed" in page.text
    assert f"Replicate failed, time and again {DOOMED} a doomed picture" in page.text
    assert "the prompt cannot be sent the author has no prompt no prompt" in page.text
    assert "fallback:" in page.text
    assert "worker-0 running 0 of 10 0" in page.text
    origin = "http://" + urlsplit(sandbox.url).netloc
    assert f"img-src 'self' {origin};" in answer.headers["Content-Security-Policy"]
    assert [str(image["src"]).startswith(origin) for image in page.all("img")] == [True, True]


def test_a_hostile_prompt_is_text_on_the_page_and_beside_its_image(site: Site) -> None:
    site.mint(HOSTILE, "x" * 1001 + HOSTILE)

    with site.supervisor() as program:
        site.wait_until_done()
        page = read(program)
        (link,) = {link["href"] for link in page.all("a") if "image=" in str(link["href"])}
        large = read(program, str(link))

    for shown in (page, large):
        assert HARMLESS in shown.text
        assert not shown.all("script")
    assert not [meta for meta in large.all("meta") if meta.get("http-equiv") == "refresh"]
    assert len(large.all("img")) == 1
    assert "the author's" in large.text


def test_kept_copies_are_served_when_replicate_has_deleted_the_images(
    site: Site, sandbox: Sandbox, tmp_path: Path
) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    site.settings["IMAGEGEN_KEEP_IMAGES"] = str(folder)
    site.mint("a lighthouse")

    with site.supervisor() as program:
        site.wait_until_done()
        site.query("UPDATE generations SET closed_at = closed_at - interval '2 hours'")
        (image,) = read(program).all("img")
        copy = get(program, str(image["src"]))
        missing = get(program, "/images/999")

    (file,) = folder.iterdir()
    assert copy.content == file.read_bytes()
    assert copy.headers["Content-Type"] == "image/png"
    assert copy.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in copy.headers["Content-Security-Policy"]
    assert missing.status_code == 404


def test_the_page_can_only_be_read(site: Site) -> None:
    with site.supervisor(procs=1) as program:
        url = program.metrics_url().replace("/metrics", "/")
        methods = ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW")
        refused = [httpx.request(method, url, trust_env=False) for method in methods]
        head, body = httpx.head(url, trust_env=False), get(program)

    assert [answer.status_code for answer in refused] == [405] * len(methods)
    assert {answer.headers["Allow"] for answer in refused} == {"GET, HEAD"}
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Cache-Control"] == "no-store"
    assert head.headers["Referrer-Policy"] == "no-referrer"
    assert head.headers["X-Frame-Options"] == "DENY"
    assert int(head.headers["Content-Length"]) > 0
    assert body.headers["Content-Security-Policy"] == head.headers["Content-Security-Policy"]


@pytest.mark.direct
def test_without_the_database_the_page_says_so_and_recovers_by_itself(site: Site) -> None:
    with (
        Proxy(site.database_port) as proxy,
        site.behind(proxy.port).supervisor() as program,
    ):
        assert get(program).status_code == 200
        proxy.freeze()
        away = get(program)
        proxy.thaw()
        wait_for("the page to heal", lambda: get(program).status_code == 200)

    assert away.status_code == 503
    assert "<title>imagegen: the database does not answer</title>" in away.text
    assert str(urlsplit(site.database_url).password) not in away.text


@pytest.mark.direct
def test_a_connection_that_answers_no_more_is_replaced_within_a_probe(site: Site) -> None:
    with (
        Proxy(site.database_port) as proxy,
        site.behind(proxy.port).supervisor(procs=1) as program,
    ):
        wait_for("all to be well", lambda: get(program, "/readyz").status_code == 200)
        proxy.freeze_those_there()
        metrics = get(program, "/metrics").text
        [replaced] = program.events("database.connection.replaced")

    assert "imagegen_database_up 1.0" in metrics
    assert "imagegen_oldest_waiting_seconds" in metrics
    assert replaced["worker"] == "exporter"


@pytest.mark.direct
def test_a_connection_that_lay_idle_too_long_is_replaced_unnoticed(site: Site) -> None:
    with site.supervisor(procs=1) as program:
        assert get(program).status_code == 200
        site.query(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE pid <> pg_backend_pid() AND datname = current_database()"""
        )
        assert get(program).status_code == 200


def test_a_worker_that_was_removed_on_purpose_is_not_missed(site: Site) -> None:
    with site.supervisor(procs=2) as program:
        program.kill(program.worker_pids()["worker-1"])
        program.wait_for_event("worker.started", 3)
        program.process.send_signal(signal.SIGTTOU)
        wait_for("the end of one", lambda: len(program.children()) == 2)

        page = wait_for("it to be told", lambda: without_worker_1(read(program)))
        rows = site.run("status", "--metrics-port", str(urlsplit(program.metrics_url()).port))

    assert "not running" not in page.text
    assert "worker-1" not in rows.stdout


def without_worker_1(page: Read) -> Read | None:
    return None if "worker-1" in page.text else page


def test_the_page_works_on_the_users_own_tables(empty_site: Site, sandbox: Sandbox) -> None:
    load_glisk(empty_site)
    empty_site.upgrade()
    sandbox.faults.add(Fault.fails("glisk prompt 20", error="the prompt is too long"))

    with empty_site.supervisor() as program:
        empty_site.wait_until_done()
        page = read(program)

    assert "Done 49" in page.text
    assert "#20 1 attempt" in page.text
    assert "Replicate refuses this input the prompt is too long" in page.text
