"""A burst of mints through the whole program: sent at once, as far as the limits allow."""

import signal

import pytest

from tests.support.processes import Site
from tests.support.sandbox import Sandbox


def test_twenty_tokens_that_are_minted_at_once_are_sent_at_once(site: Site) -> None:
    with Sandbox(latency_seconds=1.0, creates_per_minute=600, burst=600) as sandbox:
        site.provider_url = sandbox.url
        with site.supervisor():
            site.mint(*(f"picture {number}" for number in range(20)))
            assert site.wait_until_done() == {"uploading": 20}
        sent = [each.at_seconds for each in sandbox.ledger.creates()]

    # At the rate alone the last one would leave after two seconds.
    assert len(sent) == 20
    assert sent[-1] - sent[0] < 1.8


def test_one_worker_sends_what_the_others_do_not(site: Site) -> None:
    site.settings |= {"WORKER_BATCH_SIZE": "50", "IMAGEGEN_CREATE_RATE": "1200"}
    with Sandbox(latency_seconds=0.2) as sandbox:
        site.provider_url = sandbox.url
        with site.supervisor(procs=4) as program:
            pace = program.metrics()["imagegen_create_pace"]
            for pid in list(program.worker_pids().values())[1:]:
                program.kill(pid, signal.SIGSTOP)
            site.mint(*(f"picture {number}" for number in range(40 + 48)))
            site.wait_until_done()
        sent = [each.at_seconds for each in sandbox.ledger.creates()]

    assert pace == pytest.approx(1200 * 0.96)
    # A quarter of the rate, without the others' burst, would be 18 s.
    assert sent[-1] - sent[0] < 8.0


def test_an_account_with_little_credit_is_asked_as_often_as_it_says(site: Site) -> None:
    with Sandbox(creates_per_minute=60, burst=1) as sandbox:
        site.provider_url = sandbox.url
        with site.supervisor():
            site.mint(*(f"picture {number}" for number in range(10)))
            site.wait_until_done()
            site.mint(*(f"picture {number}" for number in range(10, 15)), first_token_id=11)
            site.wait_until_done()
        refused = [each for each in sandbox.ledger.creates() if each.status == 429]

    # Of the first burst: nobody knew before.
    assert len(refused) <= 9 + 2
