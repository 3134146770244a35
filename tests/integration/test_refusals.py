"""Replicate refuses, through the whole program: no token fails, and none is paid for twice."""

import contextlib
import signal

import httpx

from tests.support.judge import judge
from tests.support.processes import Program, Site, wait_for
from tests.support.sandbox import Fault, Sandbox


def test_a_closed_gate_says_why_and_opens_by_itself(site: Site, sandbox: Sandbox) -> None:
    refusal = Fault.answers(401)
    sandbox.faults.add(refusal)
    site.mint(*[f"picture {number}" for number in range(4)])
    with site.supervisor() as program:
        program.wait_for_event("gate.closed")
        status, why = program.readiness()
        assert status == 503
        assert "closed: unauthorized" in why

        sandbox.faults.remove(refusal)
        site.wait_until_done()
        assert program.readiness() == (200, "ok\n")
        wait_for("every gate to open", lambda: closed_gates(program) == 0)

    judge(site, sandbox)
    assert site.statuses() == {"uploading": 4}
    assert {line["reason"] for line in program.events("gate.closed")} == {"unauthorized"}


def closed_gates(program: Program) -> int:
    return len(program.events("gate.closed")) - len(program.events("gate.opened"))


def test_an_outage_is_reported_although_every_slot_watches_a_prediction(
    site: Site, sandbox: Sandbox
) -> None:
    site.settings["WORKER_BATCH_SIZE"] = "2"
    sandbox.latency_seconds = 3.0
    site.mint(*[f"picture {number}" for number in range(6)])
    outage = Fault.answers(503, operation=None)
    with site.supervisor() as program:
        wait_for("every slot to be taken", lambda: len(sandbox.ledger.created()) == 4)
        sandbox.faults.add(outage)
        program.wait_for_event("gate.closed", 2)
        assert "closed: unavailable" in program.readiness()[1]
        sandbox.faults.remove(outage)
        site.wait_until_done()

    judge(site, sandbox)
    assert len(sandbox.ledger.creates()) == 6


def test_a_gate_opens_when_no_token_is_left_that_could_try(site: Site, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault.answers(402))
    site.mint("a picture")
    with site.supervisor() as program:
        program.wait_for_event("gate.closed")
        site.query("DELETE FROM tokens_s0")
        wait_for("readiness", lambda: program.readiness() == (200, "ok\n"))


def test_a_hung_exporter_is_replaced(site: Site) -> None:
    with site.supervisor("--watchdog", "5") as program:
        url = program.metrics_url()
        assert program.metrics()  # it has begun
        (exporter,) = set(program.children()) - set(program.worker_pids().values())
        program.kill(exporter, signal.SIGSTOP)
        wait_for("another exporter", lambda: exporter not in program.children())

        def serves() -> bool:
            with contextlib.suppress(httpx.HTTPError):
                return httpx.get(url, trust_env=False).status_code == 200
            return False

        wait_for("metrics", serves)


def test_a_token_that_is_refused_for_too_long_fails_with_the_reason_and_can_be_reset(
    site: Site, sandbox: Sandbox
) -> None:
    refusal = Fault.answers(402)
    sandbox.faults.add(refusal)
    site.mint("a picture")
    with site.supervisor("--give-up-after", "3s") as program:
        site.wait_until_done()
        status, attempts, error = site.token()
        assert (status, attempts) == ("failed", 0)
        assert "402" in str(error)
        assert program.metrics()['imagegen_failures_total{kind="given_up"}'] == 1

        sandbox.faults.remove(refusal)
        site.query(
            "UPDATE tokens_s0 SET status = 'detected', generation_attempts = 0,"
            " generation_error = NULL"
        )
        site.wait_until_done()

    assert site.token() == ("uploading", 1, None)
    judge(site, sandbox)


def test_a_token_that_alone_is_always_refused_blocks_no_other(site: Site, sandbox: Sandbox) -> None:
    site.settings["IMAGEGEN_TEST_SETTLE_SECONDS"] = "1"
    sandbox.faults.add(Fault.answers(500, prompt="poison"))
    site.mint("poison", *[f"picture {number}" for number in range(20)])
    with site.supervisor():
        wait_for("the others", lambda: site.statuses().get("uploading") == 20)

        def tries() -> int:
            return sum(each.prompt == "poison" for each in sandbox.ledger.creates())

        wait_for("three tries of it", lambda: tries() >= 3)
        wait_for("its own delay", lambda: site.token()[0] == "detected")

    assert site.token()[1] == 0
    kept_back = "SELECT extract(epoch FROM generate_after - now())::float FROM tokens_s0"
    assert float(site.query(f"{kept_back} WHERE token_id = 1")[0][0]) > 2
    assert len(sandbox.ledger.created()) == 20


def test_a_prompt_that_alone_is_turned_away_blocks_no_other(site: Site, sandbox: Sandbox) -> None:
    wall = Fault.answers(403, prompt="poison")
    sandbox.faults.add(wall)
    site.mint("poison", *[f"picture {number}" for number in range(30)])
    with site.supervisor(procs=1):
        wait_for("the others", lambda: site.statuses() == {"detected": 1, "uploading": 30})
        assert len(sandbox.ledger.creates().about("poison")) <= 6

        sandbox.faults.remove(wall)
        site.wait_until_done()

    judge(site, sandbox)


def test_a_prediction_that_replicate_is_too_busy_for_fails_no_token(
    site: Site, sandbox: Sandbox
) -> None:
    busy = Fault.fails(error="Service is currently unavailable due to high demand. (E003) (x)")
    sandbox.faults.add(busy)
    site.settings["IMAGEGEN_TEST_HOUR_SECONDS"] = "180"
    site.mint(*[f"picture {number}" for number in range(80)])
    with site.supervisor() as program:
        closed = program.wait_for_event("gate.closed", 2)
        accepted = len(sandbox.predictions)
        wait_for("some tries", lambda: len(sandbox.predictions) >= accepted + 2)
        sandbox.faults.remove(busy)

        assert site.wait_until_done() == {"uploading": 80}

    assert {line["reason"] for line in closed} == {"failing"}
    assert len(sandbox.predictions) < 80 + 50  # most were not tried meanwhile
    judge(site, sandbox)
