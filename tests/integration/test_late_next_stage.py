"""A next stage that starts a day late finds every image, though Replicate has deleted them."""

from pathlib import Path

from tests.integration.test_image_copies import free_port
from tests.support.judge import judge
from tests.support.next_stage import AT_ONCE, NextStage
from tests.support.processes import Site
from tests.support.sandbox import Fault, Sandbox

TOKENS = 30
RECORDED = "SELECT token_id, image_sha256 FROM generations WHERE state = 'succeeded'"


def a_day_passes(site: Site, sandbox: Sandbox) -> None:
    """Replicate deletes its images."""
    sandbox.faults.add(Fault.answers(404, operation="file"))
    for column in ("opened_at", "requested_at", "closed_at"):
        site.query(f"UPDATE generations SET {column} = {column} - interval '24 hours'")


def test_a_next_stage_that_starts_a_day_late_fetches_every_image(
    site: Site, sandbox: Sandbox, tmp_path: Path
) -> None:
    port, folder = free_port(), tmp_path / "images"
    folder.mkdir()
    site.settings |= {
        "IMAGEGEN_KEEP_IMAGES": str(folder),
        "IMAGEGEN_IMAGES_PORT": str(port),
        "IMAGEGEN_IMAGE_URL_BASE": f"http://127.0.0.1:{port}/images/",
    }
    site.mint(*(f"prompt {number}" for number in range(TOKENS)))
    with site.supervisor():
        assert site.wait_until_done() == {"uploading": TOKENS}
        judge(site, sandbox)
        a_day_passes(site, sandbox)
        stage = NextStage(site)
        stage.work(rounds=TOKENS // AT_ONCE)

    assert stage.failures == []
    assert stage.fetched == dict(site.query(RECORDED))
    assert site.statuses() == {"ready": TOKENS}


def test_tokens_that_block_a_late_next_stage_are_freed_by_a_retry_with_the_base(
    site: Site, sandbox: Sandbox, tmp_path: Path
) -> None:
    port, folder = free_port(), tmp_path / "images"
    folder.mkdir()
    site.settings["IMAGEGEN_KEEP_IMAGES"] = str(folder)
    site.mint(*(f"prompt {number}" for number in range(AT_ONCE + 1)))
    with site.supervisor():
        site.wait_until_done()
    a_day_passes(site, sandbox)
    stage = NextStage(site)
    stage.work(rounds=3)
    assert stage.fetched == {}

    site.settings |= {
        "IMAGEGEN_IMAGES_PORT": str(port),
        "IMAGEGEN_IMAGE_URL_BASE": f"http://127.0.0.1:{port}/images/",
    }
    with site.supervisor(procs=1):
        done = site.run("tokens", "retry", *map(str, range(1, AT_ONCE + 2)), "--yes")
        assert (done.returncode, done.stdout) == (0, "11 tokens are handed on again\n"), done.stderr
        stage.work(rounds=2)

    assert stage.fetched == dict(site.query(RECORDED))
