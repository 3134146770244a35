"""Copies in S3 through the whole program: written once, and no token lost while S3 is away."""

import hashlib
from collections.abc import Iterator

import httpx
import pytest

from tests.support.judge import judge
from tests.support.processes import Site, wait_for
from tests.support.proxy import Proxy
from tests.support.s3_server import BUCKET, S3Server, running_s3
from tests.support.sandbox import Sandbox

KEPT = 'imagegen_image_copies_total{result="kept"}'
FAILED = 'imagegen_image_copies_total{result="failed"}'


@pytest.fixture
def s3(site: Site) -> Iterator[S3Server]:
    with running_s3() as server:
        site.settings |= server.environment
        site.settings["IMAGEGEN_KEEP_IMAGES"] = f"s3://{BUCKET}/images"
        yield server


def test_each_token_is_handed_on_with_the_url_of_an_object_that_is_its_image(
    site: Site, sandbox: Sandbox, s3: S3Server
) -> None:
    site.settings["IMAGEGEN_IMAGE_URL_BASE"] = base = f"{s3.url}/{BUCKET}/images/"
    site.mint("one", "two", "three")
    with site.supervisor() as program:
        assert site.wait_until_done() == {"uploading": 3}
        assert program.metrics()[KEPT] == 3
        page = httpx.get(program.metrics_url().replace("/metrics", "/"), trust_env=False)

    rows = site.query(
        """SELECT t.image_url, image_path, image_sha256 FROM generations
           JOIN tokens_s0 t USING (token_id)"""
    )
    for url, path, sha256 in rows:
        name = path.removeprefix(f"s3://{BUCKET}/images/")
        assert url == base + name
        assert url in page.text
        assert hashlib.sha256(httpx.get(url, trust_env=False).content).hexdigest() == sha256
    assert s3.writes() == 3
    judge(site, sandbox)


def test_while_s3_is_dead_tokens_go_on_without_a_copy_and_none_is_paid_again(
    site: Site, sandbox: Sandbox, s3: S3Server
) -> None:
    site.settings["AWS_ENDPOINT_URL"] = "http://127.0.0.1:1"
    site.mint("one", "two", "three")
    with site.supervisor(procs=1) as program:
        assert site.wait_until_done() == {"uploading": 3}
        assert program.metrics()[FAILED] == 3
        errors = {line["error"] for line in program.events("image.copy.failed")}

    assert all("Could not connect to the endpoint URL" in error for error in errors)
    urls = [url for (url,) in site.query("SELECT image_url FROM tokens_s0")]
    assert all(url.startswith(sandbox.url) for url in urls)
    judge(site, sandbox)


def test_tokens_that_are_handed_on_by_s3_wait_for_it_and_none_is_paid_again(
    site: Site, sandbox: Sandbox, s3: S3Server
) -> None:
    base = "https://images.example.com/"
    site.settings |= {"IMAGEGEN_IMAGE_URL_BASE": base, "IMAGEGEN_TEST_HOUR_SECONDS": "120"}
    with Proxy(s3.port) as proxy:
        site.settings["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{proxy.port}"
        proxy.freeze()
        site.mint("one", "two", "three")
        with site.supervisor(procs=1) as program:
            wait_for("three images", lambda: len(sandbox.ledger.of("file")) >= 3)
            assert site.statuses() == {"generating": 3}
            proxy.thaw()
            assert site.wait_until_done() == {"uploading": 3}
            assert program.metrics()[KEPT] == 3

    urls = [url for (url,) in site.query("SELECT image_url FROM tokens_s0")]
    assert all(url.startswith(base) for url in urls)
    assert len(s3.objects()) == 3
    judge(site, sandbox)
