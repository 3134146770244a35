"""Replicate limits the predictions a minute; the ledger shows when they were requested."""

import contextlib

import pytest

from tests.benchmarks.figures import table
from tests.drills import limits
from tests.drills.limits import Throttled
from tests.support.judge import judge, judge_what_is_left
from tests.support.processes import Site, wait_for
from tests.support.sandbox import Sandbox

# Predictions a minute, and how long for: as in a minute, the burst of 20 and what flows in.
FAST, BURST, WINDOW_SECONDS = 1800, 20, 3.0
# A request is counted when its token is claimed, and leaves when the database has recorded it.
LATE = 5

# Sooner than in the long form: the pace is near what is allowed, and soon found.
SETTLED_SECONDS = 5.0


def press(site: Site, *, per_minute: int, burst: int, tokens: int, supervisors: int) -> Throttled:
    with (
        Sandbox(creates_per_minute=per_minute, burst=burst) as sandbox,
        contextlib.ExitStack() as running,
    ):
        site.provider_url = sandbox.url
        programs = [running.enter_context(site.supervisor()) for _ in range(supervisors)]
        site.mint(*(f"picture number {n}." for n in range(1, tokens + 1)))
        throttled = limits.press(
            site, sandbox, per_minute=per_minute, burst=burst, supervisors=programs
        )
        judge(site, sandbox)
        judge_what_is_left(site)
    print(table(limits.figures(throttled)))
    return throttled


def test_two_supervisors_share_a_limit_that_neither_knows_the_other_uses(site: Site) -> None:
    throttled = press(site, per_minute=600, burst=10, tokens=120, supervisors=2)

    assert throttled.part_of_limit >= 0.7
    assert throttled.refused_part(after_seconds=SETTLED_SECONDS) <= 0.1


def test_a_narrow_limit_is_met_with_fewer_refusals_than_images(site: Site) -> None:
    throttled = press(site, per_minute=120, burst=1, tokens=30, supervisors=1)

    assert len(throttled.refused) < len(throttled.accepted)


@pytest.mark.parametrize("procs", [1, 2, 4])
def test_no_death_of_a_worker_lets_more_leave_than_the_limit(site: Site, procs: int) -> None:
    site.settings |= {"IMAGEGEN_CREATE_RATE": str(FAST), "WORKER_BATCH_SIZE": str(BURST // procs)}
    site.settings["IMAGEGEN_LEASE_SECONDS"] = "1"
    with Sandbox(latency_seconds=0.1) as sandbox:
        site.provider_url = sandbox.url
        with site.supervisor(procs=procs) as program:
            site.mint(*(f"picture number {n}." for n in range(200)))
            for deaths in range(1, 4):
                enough = len(sandbox.predictions) + BURST
                wait_for("work", lambda: len(sandbox.predictions) >= enough)  # noqa: B023
                started = program.events("worker.started")
                program.kill(started[-1]["pid"])
                wait_for(
                    "its replacement",
                    lambda: len(program.events("worker.started")) >= procs + deaths,  # noqa: B023
                )
            site.wait_until_done()
            assert program.stop() == 0
        judge(site, sandbox)
    sent = [each.at_seconds for each in sandbox.ledger.creates()]
    at_once = [sum(at <= each < at + WINDOW_SECONDS for each in sent) for at in sent]

    assert max(at_once) <= BURST + FAST / 60 * WINDOW_SECONDS + LATE
