"""Workers are replaced: those that hang, those that die again and again, and all by SIGHUP."""

import signal
from pathlib import Path

from tests.drills import rolls
from tests.drills.stage import stage
from tests.support.judge import judge, judge_counters, judge_what_is_left
from tests.support.processes import Program, Site, wait_for
from tests.support.sandbox import Sandbox

TOKENS = 10


def test_a_hung_worker_is_replaced_and_its_tokens_finish(site: Site, sandbox: Sandbox) -> None:
    site.settings |= {"IMAGEGEN_WATCHDOG_SECONDS": "5", "IMAGEGEN_LEASE_SECONDS": "600"}
    sandbox.latency_seconds = 1.0

    with site.supervisor(procs=1) as program:
        site.mint(*(f"picture number {n}" for n in range(TOKENS)))
        wait_for("all to be requested", lambda: len(sandbox.ledger.created()) == TOKENS)
        program.kill(program.worker_pids()["worker-0"], signal.SIGSTOP)
        program.wait_for_event("process.hung")
        site.wait_until_done()
        restarts = program.metrics()
        assert program.stop() == 0

    assert len(sandbox.ledger.creates()) == TOKENS
    hung = 'imagegen_worker_restarts_total{cause="hung",slot="worker-0"}'
    assert restarts[hung] == 1
    judge(site, sandbox)
    judge_what_is_left(site)


def test_a_worker_that_dies_at_once_comes_back_after_growing_delays(
    site: Site, sandbox: Sandbox
) -> None:
    with site.supervisor(procs=1) as program:
        for deaths in range(1, 5):
            program.kill(program.worker_pids()["worker-0"])
            program.wait_for_event("process.died", deaths)
            program.wait_for_event("worker.started", deaths + 1)
        site.mint("a picture")
        site.wait_until_done()
        assert program.stop() == 0

    delays = [line["again_seconds"] for line in program.events("process.died")]
    assert delays[0] == 0
    assert all(0.9 <= delay / 2**n <= 1.1 for n, delay in enumerate(delays[1:])), delays
    starts = [line["timestamp"] for line in program.events("worker.started")]
    assert starts == sorted(starts)
    judge(site, sandbox)


def test_rolling_restarts_under_load_cost_nothing(tmp_path: Path) -> None:
    with stage(tmp_path, IMAGEGEN_GRACE_SECONDS="20") as place:
        rolls.roll(place, rolls=5, tell=print)
        judge_counters(place.program, place.sandbox)
        assert place.program.stop() == 0

        nothing_went_wrong(place.program)
        assert len(place.sandbox.ledger.creates()) == place.minted
        assert place.site.statuses() == {"uploading": place.minted}
        judge(place.site, place.sandbox)
        judge_what_is_left(place.site)


def nothing_went_wrong(program: Program) -> None:
    loud = [line for line in program.events() if line["level"] in ("error", "critical")]
    assert loud == []


def test_without_a_kill_the_counters_agree_with_the_ledger(site: Site, sandbox: Sandbox) -> None:
    with site.supervisor() as program:
        site.mint(*(f"picture number {n}" for n in range(60)))
        site.wait_until_done()
        judge_counters(program, sandbox)
        assert program.stop() == 0

    nothing_went_wrong(program)
    judge(site, sandbox)
    judge_what_is_left(site)
