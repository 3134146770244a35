"""Replicate allows only so many predictions a minute; the ledger tells how they were asked for."""

import contextlib

from tests.benchmarks.figures import table
from tests.drills import limits
from tests.drills.limits import Throttled
from tests.support.judge import judge, judge_what_is_left
from tests.support.processes import Site
from tests.support.sandbox import Sandbox

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

    assert throttled.part_of_limit >= 0.8
    assert throttled.refused_part(after_seconds=SETTLED_SECONDS) <= 0.1


def test_a_narrow_limit_is_met_with_fewer_refusals_than_images(site: Site) -> None:
    throttled = press(site, per_minute=120, burst=1, tokens=16, supervisors=1)

    assert len(throttled.refused) < len(throttled.accepted)
