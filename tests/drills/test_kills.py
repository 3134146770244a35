"""Processes are killed at work; the sandbox's ledger tells whether anything was paid for twice."""

import signal
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from imagegen.demo.postgres import EmbeddedPostgres
from tests.support.judge import judge
from tests.support.processes import Program, Site, wait_for
from tests.support.sandbox import Fault, Sandbox


def mint(site: Site, tokens: int) -> None:
    site.mint(*(f"picture number {n} of the drill" for n in range(1, tokens + 1)))


def wait_until_paid(sandbox: Sandbox, images: int) -> None:
    wait_for(f"{images} images", lambda: len(sandbox.predictions.paid()) >= images)


def test_a_killed_worker_never_buys_a_second_image(site: Site, sandbox: Sandbox) -> None:
    sandbox.latency_seconds = 0.5
    mint(site, 80)

    with site.supervisor() as program:
        for round_number in range(1, 6):
            wait_until_paid(sandbox, 8 * round_number)
            program.kill(program.worker_pids()[f"worker-{round_number % 2}"])
            program.wait_for_event("worker.started", 2 + round_number)
        site.wait_until_done()

    judge(site, sandbox)
    assert site.statuses() == {"uploading": 80}


def test_a_replacement_takes_over_its_predecessors_predictions_at_once(
    site: Site, sandbox: Sandbox
) -> None:
    sandbox.latency_seconds = 4.0
    mint(site, 20)

    with site.supervisor("--lease", "600") as program:
        wait_for("twenty predictions", lambda: len(sandbox.ledger.created()) == 20)
        wait_for("their ids", lambda: ids_known(site) == 20)
        program.kill(program.worker_pids()["worker-0"])
        adopted = program.wait_for_event("prediction.adopted", 10)
        site.wait_until_done()

    assert len(adopted) == 10
    assert len(sandbox.ledger.creates()) == 20
    judge(site, sandbox)


def ids_known(site: Site) -> int:
    return int(site.query("SELECT count(prediction_id) FROM generations")[0][0])


def test_a_killed_supervisor_takes_its_children_along_and_the_next_one_finishes(
    site: Site, sandbox: Sandbox
) -> None:
    site.settings |= {"IMAGEGEN_LEASE_SECONDS": "2", "IMAGEGEN_TEST_SETTLE_SECONDS": "5"}
    sandbox.latency_seconds = 1.0
    mint(site, 60)

    with site.supervisor() as program:
        wait_for("work", lambda: len(sandbox.ledger.created()) > 10)
        children = program.children()
        program.kill(program.pid)
        wait_for(
            "the children to die",
            lambda: not any(program.is_alive(pid) for pid in children),
            seconds=2,
        )
    with site.supervisor():
        site.wait_until_done()

    assert len(children) == 3
    judge(site, sandbox)


def test_the_next_supervisor_takes_over_at_once_and_only_from_the_dead(
    site: Site, sandbox: Sandbox
) -> None:
    site.settings["IMAGEGEN_LEASE_SECONDS"] = "600"
    sandbox.latency_seconds = 4.0

    with site.supervisor() as frozen, site.supervisor() as killed:
        mint(site, 40)
        wait_for("their ids", lambda: ids_known(site) == 40)
        for pid in (frozen.pid, *frozen.children()):
            frozen.kill(pid, signal.SIGSTOP)
        killed.kill(killed.pid)
        with site.supervisor() as following:
            adopted = following.wait_for_event("prediction.adopted", 20)
            wait_for("their images", lambda: site.statuses().get("uploading") == 20)
            began = following.events("worker.started")
            for pid in (*frozen.children(), frozen.pid):
                frozen.kill(pid, signal.SIGCONT)
            site.wait_until_done()

    assert seconds_between(began[0], adopted[-1]) < 2.0
    assert len(following.events("prediction.adopted")) == 20
    assert not frozen.events("generation.lease.lost")
    assert len(sandbox.ledger.creates()) == 40
    judge(site, sandbox)


def seconds_between(first: dict[str, Any], second: dict[str, Any]) -> float:
    times = (datetime.fromisoformat(line["timestamp"]) for line in (second, first))
    return (next(times) - next(times)).total_seconds()


def test_the_next_worker_in_the_foreground_takes_over_at_once(site: Site, sandbox: Sandbox) -> None:
    site.settings["IMAGEGEN_LEASE_SECONDS"] = "600"
    sandbox.latency_seconds = 2.0
    mint(site, 10)

    with site.program("worker") as program:
        wait_for("their ids", lambda: ids_known(site) == 10)
        program.kill(program.pid)
    with site.program("worker") as program:
        program.wait_for_event("prediction.adopted", 10)
        site.wait_until_done()

    assert len(sandbox.ledger.creates()) == 10
    judge(site, sandbox)


def test_a_worker_killed_while_its_request_is_unanswered_is_reconciled(
    site: Site, sandbox: Sandbox
) -> None:
    site.settings["IMAGEGEN_LEASE_SECONDS"] = "1"
    sandbox.faults.add(Fault.late(3.0))
    mint(site, 20)

    with site.supervisor() as program:
        wait_for("twenty requests", lambda: len(sandbox.ledger.creates()) == 20)
        sandbox.faults.clear()
        for pid in program.worker_pids().values():
            program.kill(pid)
        site.wait_until_done()

    assert len(sandbox.ledger.creates()) == 20
    judge(site, sandbox)


def test_a_worker_that_stood_still_past_its_lease_writes_nothing(
    site: Site, sandbox: Sandbox
) -> None:
    site.settings["IMAGEGEN_LEASE_SECONDS"] = "1"
    sandbox.latency_seconds = 2.0
    mint(site, 10)

    with site.supervisor() as program:
        wait_for("their ids", lambda: ids_known(site) == 10)
        busiest = busiest_worker(program.events("token.claimed"))
        zombie = program.worker_pids()[busiest]
        program.kill(zombie, signal.SIGSTOP)
        site.wait_until_done()
        program.kill(zombie, signal.SIGCONT)
        lost = program.wait_for_event("generation.lease.lost")
        wait_for("each lost lease to be counted", lambda: counts_lost_leases(program))

    assert all(line["worker"] == busiest for line in lost)
    assert len(sandbox.ledger.creates()) == 10
    judge(site, sandbox)


def counts_lost_leases(program: Program) -> bool:
    logged = len(program.events("generation.lease.lost"))
    return program.metrics()["imagegen_lost_leases_total"] == logged


def busiest_worker(claims: list[dict[str, str]]) -> str:
    workers = [line["worker"] for line in claims]
    return max(workers, key=workers.count)


@pytest.fixture
def own_postgres() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres() as server:
        yield server


@pytest.mark.direct  # through a pooler the schedule crashes it too
def test_a_database_that_crashes_is_waited_for_and_nothing_is_lost(
    own_postgres: EmbeddedPostgres, sandbox: Sandbox, tmp_path: Path
) -> None:
    sandbox.latency_seconds = 0.5
    # The time for which nothing is sent after each crash.
    settings = {"IMAGEGEN_TEST_SETTLE_SECONDS": "2"}
    site = Site(own_postgres.url, sandbox.url, tmp_path, settings)
    site.upgrade()
    mint(site, 80)

    with site.supervisor() as program:
        for crashes, paid in enumerate((10, 30, 50), 1):
            wait_until_paid(sandbox, paid)
            own_postgres.crash()
            program.wait_for_event("database.unavailable", 2 * crashes)
            own_postgres.start()
            program.wait_for_event("database.available", 2 * crashes)
        site.wait_until_done()
        assert program.process.poll() is None
        log = program.log.read_text()

    assert "Traceback" not in log
    judge(site, sandbox)
    assert site.statuses() == {"uploading": 80}
