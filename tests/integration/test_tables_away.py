"""Tables that are missing for a while, or change, are waited for like a database that is away."""

import os

import pytest

from tests.integration.test_migrations import GLISK_SCHEMA
from tests.support.judge import judge
from tests.support.processes import Program, Site, wait_for
from tests.support.sandbox import Sandbox

# What happens, how it is undone, and what the log names meanwhile.
ABSENCES = {
    "tokens": (
        "ALTER TABLE tokens_s0 RENAME TO t_old",
        "ALTER TABLE t_old RENAME TO tokens_s0",
        "tokens_s0",
    ),
    "authors": (
        "ALTER TABLE authors RENAME TO a_old",
        "ALTER TABLE a_old RENAME TO authors",
        "authors",
    ),
    "generations": (
        "ALTER TABLE generations RENAME TO g_old",
        "ALTER TABLE g_old RENAME TO generations",
        "generations",
    ),
    "servers": (
        "ALTER TABLE imagegen_servers RENAME TO s_old",
        "ALTER TABLE s_old RENAME TO imagegen_servers",
        "imagegen_servers",
    ),
    "acts": (
        "ALTER TABLE imagegen_acts RENAME TO acts_old",
        "ALTER TABLE acts_old RENAME TO imagegen_acts",
        "imagegen_acts",
    ),
    "a column": (
        "ALTER TABLE tokens_s0 RENAME COLUMN status TO state",
        "ALTER TABLE tokens_s0 RENAME COLUMN state TO status",
        "status",
    ),
    "a column of generations": (
        "ALTER TABLE generations RENAME COLUMN lease_until TO lease",
        "ALTER TABLE generations RENAME COLUMN lease TO lease_until",
        "lease_until",
    ),
    "a schema": (
        "ALTER SCHEMA public RENAME TO old",
        "ALTER SCHEMA old RENAME TO public",
        "no",
    ),
}


def work(site: Site, sandbox: Sandbox, tokens: int = 12) -> None:
    site.mint(*(f"picture {n}" for n in range(tokens)))
    wait_for("work", lambda: len(sandbox.ledger.creates()) >= 5)


def waits_and_goes_on(program: Program) -> None:
    """Nothing has died, and each worker has said once that it waits, and that it goes on."""
    assert program.process.poll() is None, program.log.read_text()
    for worker in ("worker-0", "worker-1"):
        told = [line["event"] for line in program.events() if line.get("worker") == worker]
        waits = [event for event in told if event.startswith("database.")]
        assert waits == ["database.unavailable", "database.available"]
    assert program.events("process.died") == []
    assert program.events("slot.crashed") == []
    assert "Traceback" not in program.log.read_text()


@pytest.mark.parametrize("which", ABSENCES)
def test_a_table_that_is_missing_for_a_while_is_named_and_waited_for(
    site: Site, sandbox: Sandbox, which: str
) -> None:
    away, back, named = ABSENCES[which]
    with site.supervisor() as program:
        work(site, sandbox)
        site.query(away)
        waiting = program.wait_for_event("database.unavailable", count=2)
        if "column" not in which:
            unready = wait_for("it to be unready", lambda: answers(program, 503))
            assert named in unready
        site.query(back)

        assert site.wait_until_done() == {"uploading": 12}
        program.wait_for_event("database.available", count=2)
        wait_for("it to be ready", lambda: answers(program, 200))
        waits_and_goes_on(program)
        assert program.stop() == 0

    assert all(named in line["error"] for line in waiting)
    judge(site, sandbox)


def answers(program: Program, status: int) -> str | None:
    """Return what /readyz answers, if it is with this status."""
    found, text = program.readiness()
    return text if found == status else None


def test_a_worker_that_starts_meanwhile_waits_too(site: Site, sandbox: Sandbox) -> None:
    with site.supervisor() as program:
        work(site, sandbox)
        site.query("ALTER TABLE tokens_s0 RENAME TO t_old")
        program.wait_for_event("database.unavailable", count=2)
        for pid in program.worker_pids().values():
            os.kill(pid, 9)
        program.wait_for_event("database.unavailable", count=4)
        site.query("ALTER TABLE t_old RENAME TO tokens_s0")

        assert site.wait_until_done() == {"uploading": 12}
        assert len(program.events("process.died")) == 2
        assert program.process.poll() is None

    judge(site, sandbox)


def test_labels_that_another_migration_changed_are_read_again(
    empty_site: Site, sandbox: Sandbox
) -> None:
    empty_site.query(GLISK_SCHEMA.read_text())
    empty_site.upgrade()
    with empty_site.supervisor() as program:
        for label in ("DETECTED", "GENERATING", "UPLOADING", "FAILED"):
            empty_site.query(f"ALTER TYPE tokenstatus RENAME VALUE '{label}' TO '{label.lower()}'")
        empty_site.query(
            """INSERT INTO authors (id, wallet_address, prompt_text, created_at)
               VALUES (gen_random_uuid(), '0x1', 'a cat', now());
               INSERT INTO tokens_s0 (id, token_id, author_id, status, created_at,
                   generation_attempts)
               SELECT gen_random_uuid(), 1, id, 'detected', now(), 0 FROM authors"""
        )

        assert empty_site.wait_until_done() == {"uploading": 1}
        assert program.events("process.died") == []
        assert "Traceback" not in program.log.read_text()

    assert len(sandbox.ledger.creates()) == 1


def test_a_table_that_is_dropped_and_restored_is_claimed_from_when_it_is_complete(
    site: Site, sandbox: Sandbox
) -> None:
    site.mint("a cat", "a dog")
    with site.supervisor() as program:
        site.wait_until_done()
        site.query("CREATE TABLE kept AS TABLE tokens_s0; DROP TABLE tokens_s0")
        program.wait_for_event("database.unavailable", count=2)
        site.query("CREATE TABLE tokens_s0 (LIKE kept); INSERT INTO tokens_s0 TABLE kept")
        site.query(
            """INSERT INTO tokens_s0 SELECT gen_random_uuid(), 3, author_id, 'detected', now(),
                   NULL, 0, NULL, NULL FROM kept LIMIT 1"""
        )
        wait_for("what is missing to be named", lambda: "must be unique" in str(program.events()))
        assert len(sandbox.ledger.creates()) == 2
        site.query("ALTER TABLE tokens_s0 ADD PRIMARY KEY (token_id)")

        assert site.wait_until_done() == {"uploading": 3}
        assert program.events("process.died") == []
