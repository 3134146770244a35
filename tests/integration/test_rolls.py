"""SIGHUP and SIGTERM, with real workers: claims go on, and work in flight keeps its grace."""

import os
import signal
import time
import uuid
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.processes import Site, wait_for
from tests.support.sandbox import Fault, Sandbox

PASSWORD = "a-long-password-of-a-role"


def test_while_the_only_worker_is_replaced_tokens_are_claimed_all_the_time(
    site: Site, sandbox: Sandbox
) -> None:
    """The old worker drains for seconds: it has a slow prediction."""
    sandbox.faults.add(Fault.takes(6.0, "slow"))
    with site.supervisor(procs=1) as program:
        site.mint("a slow picture")
        wait_for("the prediction", lambda: len(sandbox.ledger.created()) == 1)
        program.hang_up()

        def mint_until_replaced() -> bool:
            minted = sum(site.statuses().values())
            site.mint(f"picture {minted}", first_token_id=minted + 1)
            return len(program.events("worker.stopped")) == 2  # the old one and the spare one

        wait_for("the roll to end", mint_until_replaced)
        done = site.wait_until_done()
        claims = [datetime.fromisoformat(e["timestamp"]) for e in program.events("token.claimed")]
        assert program.stop() == 0

    assert done == {"uploading": len(sandbox.ledger.creates())}
    assert max((later - earlier).total_seconds() for earlier, later in pairwise(claims)) < 3
    workers = [line["worker"] for line in program.events("worker.started")]
    assert workers == ["worker-0", "worker-spare", "worker-0"]
    assert program.events("prediction.adopted") == []


@pytest.mark.direct
def test_while_no_new_worker_can_log_in_the_old_ones_go_on(site: Site, sandbox: Sandbox) -> None:
    """Their connections stay. As soon as new workers can work, all are replaced."""
    role = f"role_{uuid.uuid4().hex}"
    site.query(f"CREATE ROLE {role} SUPERUSER LOGIN PASSWORD '{PASSWORD}'")
    limited = replace(site)
    limited.log_in_as(role, PASSWORD)
    with limited.supervisor() as program:
        site.query(f"ALTER ROLE {role} NOLOGIN")
        program.hang_up()
        program.wait_for_event("database.unavailable")
        site.mint("a picture")
        assert site.wait_until_done() == {"uploading": 1}
        assert program.events("worker.stopping") == []

        site.query(f"ALTER ROLE {role} LOGIN")
        program.wait_for_event("worker.stopped", 3)
        assert program.stop() == 0
    site.query(f"DROP ROLE {role}")


def test_a_sigterm_to_all_processes_does_not_cut_the_grace_short(
    site: Site, sandbox: Sandbox
) -> None:
    """A worker gets it twice: as one of them, and from its supervisor."""
    sandbox.latency_seconds = 3.0
    with site.supervisor(procs=1) as program:
        site.mint("a picture")
        program.wait_for_event("token.claimed")
        program.kill(program.worker_pids()["worker-0"], signal.SIGTERM)
        program.wait_for_event("worker.stopping")

        assert program.stop() == 0
    assert site.statuses() == {"uploading": 1}
    assert program.events("process.killed") == []


def test_a_worker_that_drains_sleeps_although_tokens_wait_and_slots_are_free(
    site: Site, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault.takes(8.0, "slow"))
    site.mint("a slow picture", *["a picture"] * 100)
    with site.supervisor("--create-rate", "60", procs=1) as program:  # one a second
        program.wait_for_event("token.claimed", 2)
        worker = program.worker_pids()["worker-0"]
        program.kill(program.pid, signal.SIGTERM)
        program.wait_for_event("worker.stopping")
        before = cpu_seconds(worker)
        time.sleep(3.0)
        used = cpu_seconds(worker) - before

        assert program.process.wait(30) == 0
    assert used < 0.4
    assert "generating" not in site.statuses()


def cpu_seconds(pid: int) -> float:
    """Return what a process has used of the processor."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
