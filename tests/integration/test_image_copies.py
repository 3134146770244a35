"""Copies of images through the whole program, also if one fails or its worker is killed."""

import hashlib
import socket
from pathlib import Path

import httpx
import pytest

from tests.support.judge import judge
from tests.support.processes import Site, wait_for
from tests.support.sandbox import Fault, Sandbox


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of the copies."""
    made = tmp_path / "images"
    made.mkdir()
    return made


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def test_each_image_is_kept_with_its_path_and_sha256(
    site: Site, sandbox: Sandbox, folder: Path
) -> None:
    site.mint("one", "two", "three")
    with site.supervisor("--keep-images", str(folder)):
        site.wait_until_done()

    rows = site.query("SELECT image_path, image_sha256, image_url FROM generations")
    assert {Path(path) for path, _, _ in rows} == set(folder.iterdir())
    for path, sha256, url in rows:
        assert hashlib.sha256(Path(path).read_bytes()).hexdigest() == sha256
        assert httpx.get(url, trust_env=False).content == Path(path).read_bytes()


def test_an_image_that_cannot_be_kept_is_handed_on_all_the_same(
    site: Site, sandbox: Sandbox, folder: Path
) -> None:
    sandbox.faults.add(Fault.answers(404, operation="file"))
    site.mint("one")
    with site.supervisor("--keep-images", str(folder)) as program:
        site.wait_until_done()
        failed = 'imagegen_image_copies_total{result="failed"}'
        assert program.metrics()[failed] == 1

    assert site.token() == ("uploading", 1, None)
    assert list(folder.iterdir()) == []
    judge(site, sandbox)


def test_tokens_are_handed_on_with_urls_of_the_images_own_port(
    site: Site, sandbox: Sandbox, folder: Path
) -> None:
    port = free_port()
    base = f"http://127.0.0.1:{port}/images/"
    site.settings |= {
        "IMAGEGEN_KEEP_IMAGES": str(folder),
        "IMAGEGEN_IMAGES_PORT": str(port),
        "IMAGEGEN_IMAGE_URL_BASE": base,
    }
    site.mint("one", "two")
    with site.supervisor(procs=1) as program:
        site.wait_until_done()
        unfetched = program.metrics()["imagegen_oldest_unfetched_seconds"]
        shown = site.run("tokens", "show", "1").stdout
        rows = site.query(
            """SELECT t.image_url, g.image_url, handed_on_url, image_path, image_sha256
               FROM generations g JOIN tokens_s0 t USING (token_id)"""
        )
        fetched = [httpx.get(url, trust_env=False) for url, *_ in rows]
        assert [each["url"] for each in program.events("images.listening")] == [base]

    for (url, made_url, recorded, path, sha256), answer in zip(rows, fetched, strict=True):
        assert url == recorded == base + Path(path).name
        assert made_url.startswith(sandbox.url)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/png")
        assert hashlib.sha256(answer.content).hexdigest() == sha256
    assert f"handed on   {base}1-" in shown
    assert unfetched > 0
    judge(site, sandbox)


def test_a_token_whose_copy_is_to_be_handed_on_waits_until_it_can_be_made(
    site: Site, sandbox: Sandbox, folder: Path
) -> None:
    site.settings |= {
        "IMAGEGEN_KEEP_IMAGES": str(folder),
        "IMAGEGEN_IMAGE_URL_BASE": "https://images.example.com",
        "IMAGEGEN_TEST_HOUR_SECONDS": "60",
    }
    sandbox.faults.add(Fault.answers(404, operation="file", times=4))
    site.mint("one")
    with site.supervisor(procs=1) as program:
        assert site.wait_until_done() == {"uploading": 1}
        copies = program.metrics()

    ((url,),) = site.query("SELECT image_url FROM tokens_s0")
    ((name,),) = [[file.name for file in folder.iterdir()]]
    assert url == f"https://images.example.com/{name}"
    assert copies['imagegen_image_copies_total{result="failed"}'] == 2
    judge(site, sandbox)


def test_a_worker_killed_while_it_keeps_an_image_loses_and_pays_nothing(
    site: Site, sandbox: Sandbox, folder: Path
) -> None:
    sandbox.faults.add(Fault.late(30.0, operation="file", times=1))
    site.mint("one")
    with site.supervisor("--keep-images", str(folder)) as program:
        wait_for("the download", lambda: sandbox.ledger.of("file"))
        for pid in program.worker_pids().values():
            program.kill(pid)
        site.wait_until_done()

    ((path, token_status),) = site.query(
        "SELECT image_path, status FROM generations JOIN tokens_s0 USING (token_id)"
    )
    assert token_status == "uploading"
    assert Path(path).exists()
    judge(site, sandbox)
