"""A process ends at each crash point, in each way, with each answer to the request."""

import signal
from typing import NamedTuple

import pytest

from imagegen.worker import crash_points
from tests.support.judge import judge, judge_what_is_left
from tests.support.processes import Program, Site, wait_for
from tests.support.sandbox import Fault, Sandbox

TOKENS = 3
HOWS = ("kill", "kill-supervisor", "exit")
ANSWERS: dict[str, list[Fault]] = {
    "answered": [],
    "answered-late": [Fault.late(1.0)],
    "answer-lost": [Fault.resets(creates=True, times=1)],
}
# Short, so that the successor of a killed supervisor need not wait for long.
SETTINGS = {
    "IMAGEGEN_LEASE_SECONDS": "1",
    "IMAGEGEN_TEST_SETTLE_SECONDS": "2",
    "POLL_INTERVAL_SECONDS": "0.2",
}


class Case(NamedTuple):
    """Where a process ends, how, and what becomes of the requests."""

    point: str
    how: str
    answer: str


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("point", crash_points.POINTS)
def test_whatever_ends_at_a_point_every_token_gets_one_image(
    site: Site, sandbox: Sandbox, point: str, how: str, answer: str
) -> None:
    carry_out(Case(point, how, answer), site, sandbox)


@pytest.mark.parametrize("answer", ["answered"])
@pytest.mark.parametrize("how", ["freeze"])
@pytest.mark.parametrize("point", crash_points.POINTS)
def test_a_process_frozen_at_a_point_sends_and_writes_nothing_after_others_took_over(
    site: Site, sandbox: Sandbox, point: str, how: str, answer: str
) -> None:
    carry_out(Case(point, how, answer), site, sandbox)


def carry_out(case: Case, site: Site, sandbox: Sandbox) -> None:
    once = site.folder / "crashed"
    site.settings |= SETTINGS
    site.settings["IMAGEGEN_CRASH_AT"] = f"{case.point}:{case.how}:{once}"
    sandbox.faults.add(*ANSWERS[case.answer])

    with site.supervisor(procs=2 if case.how == "freeze" else 1) as program:
        site.mint(*(f"picture number {n}" for n in range(TOKENS)))
        if case.how == "kill-supervisor":
            wait_for("the supervisor to die", lambda: program.process.poll() is not None)
            with site.supervisor(procs=1) as following:
                finish(site, following)
        elif case.how == "freeze":
            thaw_when_others_are_done(case, site, program)
        else:
            finish(site, program)

    judge(site, sandbox)
    assert site.statuses() == {"uploading": TOKENS}
    judge_what_is_left(site)


def thaw_when_others_are_done(case: Case, site: Site, program: Program) -> None:
    wait_for("the freeze", (site.folder / "crashed").exists)
    site.wait_until_done()
    for pid in program.worker_pids().values():
        program.kill(pid, signal.SIGCONT)
    if case.point != "closed":  # nothing was held any more
        program.wait_for_event("generation.lease.lost")
    assert program.stop() == 0


def finish(site: Site, program: Program) -> None:
    """Wait for the last image, and for the crash: at `closed` it comes after the image."""
    site.wait_until_done()
    wait_for("the crash", (site.folder / "crashed").exists)
    assert program.stop() == 0
