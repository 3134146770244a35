"""The daily limit and the rate of polls hold in the whole program, and fail no token."""

import time

from tests.support.judge import judge
from tests.support.processes import Site, wait_for
from tests.support.sandbox import Fault, Sandbox


def test_the_daily_limit_holds_over_two_supervisors(site: Site, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault.censors("censored", times=1))
    site.mint("censored", *[f"picture {number}" for number in range(11)])
    with site.supervisor("--daily-limit", "5") as one, site.supervisor("--daily-limit", "5") as two:
        wait_for("the limit", lambda: len(sandbox.ledger.created()) == 5)
        for program in (one, two):
            program.wait_for_event("gate.closed")
            assert "closed: daily_limit" in program.readiness()[1]
            assert program.metrics()["imagegen_daily_limit"] == 5
        wait_for("the images", lambda: site.statuses().get("uploading", 0) >= 4)

    assert len(sandbox.ledger.created()) == 5
    assert "failed" not in site.statuses()


def test_a_daily_limit_that_was_lowered_holds_up_nothing_that_is_at_work(
    site: Site, sandbox: Sandbox
) -> None:
    sandbox.latency_seconds = 3.0
    site.mint(*[f"picture {number}" for number in range(6)])
    with site.supervisor("--daily-limit", "4") as before:
        wait_for("the limit", lambda: len(sandbox.ledger.created()) == 4)
        before.kill(before.pid)
    with site.supervisor("--daily-limit", "3") as after:
        wait_for("the images", lambda: site.statuses().get("uploading", 0) == 4)
        assert after.events("process.died") == []

    assert len(sandbox.ledger.created()) == 4


def test_polls_keep_to_their_budget(site: Site, sandbox: Sandbox) -> None:
    sandbox.latency_seconds = 4.0
    site.mint(*[f"picture {number}" for number in range(8)])
    began = time.monotonic()
    with site.supervisor("--poll-budget", "120"):
        site.wait_until_done()
        seconds = time.monotonic() - began

    # Each of the two workers has a second's burst beyond its share.
    looks = [each for each in sandbox.ledger if each.operation != "create"]
    assert len(looks) <= 2.0 * seconds + 4
    judge(site, sandbox)


def test_a_limit_reached_by_polls_fails_no_token(site: Site, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault.throttles(1, operation="get", times=6))
    site.mint(*[f"picture {number}" for number in range(6)])
    with site.supervisor():
        site.wait_until_done()

    assert site.statuses() == {"uploading": 6}
    judge(site, sandbox)
