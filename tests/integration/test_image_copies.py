"""Copies of images through the whole program: made, impossible, and a worker killed over one."""

import hashlib
from pathlib import Path

import httpx

from tests.support.judge import judge
from tests.support.processes import Site, wait_for
from tests.support.sandbox import Fault, Sandbox


def test_each_image_is_kept_with_its_path_and_sha256(
    site: Site, sandbox: Sandbox, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    site.mint("one", "two", "three")
    with site.supervisor("--keep-images", str(folder)):
        site.wait_until_done()

    rows = site.query("SELECT image_path, image_sha256, image_url FROM generations")
    assert {Path(path) for path, _, _ in rows} == set(folder.iterdir())
    for path, sha256, url in rows:
        assert hashlib.sha256(Path(path).read_bytes()).hexdigest() == sha256
        assert httpx.get(url, trust_env=False).content == Path(path).read_bytes()


def test_an_image_that_cannot_be_kept_is_handed_on_all_the_same(
    site: Site, sandbox: Sandbox, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    sandbox.faults.add(Fault.answers(404, operation="file"))
    site.mint("one")
    with site.supervisor("--keep-images", str(folder)) as program:
        site.wait_until_done()
        failed = 'imagegen_image_copies_total{result="failed"}'
        assert program.metrics()[failed] == 1

    assert site.token() == ("uploading", 1, None)
    assert list(folder.iterdir()) == []
    judge(site, sandbox)


def test_a_worker_killed_while_it_keeps_an_image_loses_and_pays_nothing(
    site: Site, sandbox: Sandbox, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
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
