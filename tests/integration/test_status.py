"""`imagegen status`: what the queue holds, how the last hour went, and what each worker does."""

import json
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from click import unstyle

from imagegen.cli import progress
from tests.support.processes import Program, Site, wait_for
from tests.support.sandbox import Fault, Sandbox
from tests.support.terminal import on_a_terminal


@pytest.fixture
def free_port() -> Iterator[int]:
    """A port on which nobody answers."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        yield nobody.getsockname()[1]


@contextmanager
def supervised(site: Site, *arguments: str) -> Iterator[Program]:
    """A supervisor whose port the status command knows."""
    with site.supervisor(*arguments) as program:
        site.settings["IMAGEGEN_METRICS_PORT"] = str(urlsplit(program.metrics_url()).port)
        yield program


def seen(site: Site) -> dict[str, Any]:
    """What `imagegen status --json` tells."""
    done = site.run("status", "--json")
    assert done.returncode == 0, done.stderr
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown


def test_the_queue_is_shown_where_no_supervisor_answers(site: Site, free_port: int) -> None:
    site.settings["IMAGEGEN_METRICS_PORT"] = str(free_port)
    site.mint("one", "two")
    site.query("UPDATE tokens_s0 SET created_at = now() - interval '90 seconds'")

    done = site.run("status")

    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "tokens     2 detected (the oldest has waited 2 min), 0 generating, 0 uploading, 0 failed",
        "last hour  0 images, 0.0 a minute",
        f"workers    no supervisor answers on 127.0.0.1:{free_port}",
    ]


@pytest.mark.parametrize(
    ("minted", "waited_seconds"), [("'infinity'", None), ("now() + interval '2 hours'", 0.0)]
)
def test_a_mint_at_no_time_that_has_been_leaves_the_json_valid(
    site: Site, minted: str, waited_seconds: float | None
) -> None:
    site.mint("one")
    site.query(f"UPDATE tokens_s0 SET created_at = {minted}")

    queue = seen(site)["queue"]

    assert queue["tokens"]["detected"] == 1
    assert queue["oldest_waiting_seconds"] == waited_seconds


def test_on_a_narrow_terminal_each_worker_becomes_some_lines(site: Site) -> None:
    with supervised(site) as program:
        pids = program.worker_pids()
        _, screen = on_a_terminal(site, "status", columns=32)

    lines = unstyle(screen).splitlines()
    assert ["worker    worker-0", f"pid       {pids['worker-0']}"] == lines[3:5]
    assert "gate      open" in lines


def test_on_a_terminal_a_long_wait_is_said_and_the_line_is_gone_afterwards(site: Site) -> None:
    with psycopg.connect(site.database_url) as other:
        other.execute("LOCK TABLE tokens_s0")

        def unlock(screen: str) -> None:
            if screen == progress.WAITING:
                other.rollback()

        _, screen = on_a_terminal(site, "status", watched=unlock)

    line = progress.WAITING
    assert screen.startswith(f"{line}\r{' ' * len(line)}\rtokens     0 detected")


def test_a_server_that_is_no_supervisor_is_not_taken_for_one(site: Site, sandbox: Sandbox) -> None:
    site.settings["IMAGEGEN_METRICS_PORT"] = str(sandbox.port)

    shown = seen(site)

    assert shown["workers"] is None
    told = f"what answers on 127.0.0.1:{sandbox.port} is no supervisor of imagegen"
    assert shown["no_workers"] == told


def test_the_last_hour_is_shown_by_its_images_and_their_latency(site: Site) -> None:
    site.query(
        """INSERT INTO generations (token_id, attempt, model, seed, state, requested_at,
               prediction_id, image_url, lease_until, closed_at, opened_at)
           SELECT n, 1, 'a/b', n, 'succeeded', now(), n, 'https://host/' || n, now(),
               ended, ended - make_interval(secs => n)
           FROM generate_series(0, 120) n, LATERAL (
               SELECT now() - CASE WHEN n <= 100 THEN interval '59 min' ELSE interval '61 min' END
           ) AS times (ended)"""
    )

    queue = seen(site)["queue"]

    assert (queue["images"], queue["images_per_minute"]) == (101, pytest.approx(101 / 60))
    assert (queue["p50_seconds"], queue["p95_seconds"]) == (pytest.approx(50), pytest.approx(95))


def test_each_worker_is_shown_with_what_it_does(site: Site, sandbox: Sandbox) -> None:
    sandbox.latency_seconds = 60.0
    with supervised(site) as program:
        pids = program.worker_pids()
        site.mint("one", "two", "three")
        busy = wait_for("three busy slots", lambda: three_busy(site))

        shown = site.run("status").stdout

    assert {worker["slot"]: worker["pid"] for worker in busy} == pids
    assert all(worker["gate_open"] and 0 < worker["up_seconds"] < 60 for worker in busy)
    assert "3 generating" in shown
    lines = [line.split() for line in shown.splitlines()[-3:]]
    assert lines[0] == ["worker", "pid", "up", "restarts", "busy", "gate"]
    assert [line[:2] for line in lines[1:]] == [[slot, str(pids[slot])] for slot in sorted(pids)]


def three_busy(site: Site) -> list[dict[str, Any]] | None:
    workers: list[dict[str, Any]] = seen(site)["workers"]
    return workers if sum(worker["busy"] for worker in workers) == 3 else None


def test_a_killed_worker_is_shown_with_its_restart_and_a_new_pid(site: Site) -> None:
    with supervised(site) as program:
        before = program.worker_pids()
        program.kill(before["worker-1"])
        program.wait_for_event("worker.started", 3)

        first, second = seen(site)["workers"]

    assert (first["pid"], first["restarts"]) == (before["worker-0"], 0)
    assert second["pid"] not in {None, before["worker-1"]}
    assert second["restarts"] == 1
    assert second["up_seconds"] <= first["up_seconds"]


def test_a_worker_that_waits_for_its_restart_is_not_shown_as_running(site: Site) -> None:
    with supervised(site) as program:
        for death in range(1, 5):  # after the fourth it waits for four seconds
            program.kill(program.worker_pids()["worker-1"])
            program.wait_for_event("process.died", death)
            if death < 4:
                program.wait_for_event("worker.started", 2 + death)

        row = site.run("status").stdout.splitlines()[-1].split()

    assert row == ["worker-1", "-", "-", "4", "-", "not", "running"]


def test_a_closed_gate_is_shown_with_its_reason(site: Site, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault.answers(401))
    with supervised(site) as program:
        site.mint("one")
        program.wait_for_event("gate.closed")

        closed = [worker for worker in seen(site)["workers"] if not worker["gate_open"]]
        shown = site.run("status").stdout

    assert closed  # one worker, or both
    assert all(worker["closed_by"] == ["unauthorized"] for worker in closed)
    assert "closed: unauthorized" in shown


def test_the_workers_are_shown_though_the_database_is_away(site: Site, free_port: int) -> None:
    with supervised(site):
        site.database_url = f"postgresql://me:secret-word@127.0.0.1:{free_port}/imagegen"
        done = site.run("status")

    assert done.returncode == 1
    assert "cannot use the database of DATABASE_URL" in done.stdout.splitlines()[0]
    assert "secret-word" not in done.stdout + done.stderr
    assert sum(line.startswith("worker-") for line in done.stdout.splitlines()) == 2


def test_a_watch_looks_again_and_again_and_ends_quietly(site: Site) -> None:
    with site.program("status", "--watch", "--json") as program:
        assert program.process.stdout is not None
        looks = [json.loads(program.process.stdout.readline()) for _ in range(2)]
        ended = program.stop(signal.SIGINT)
        rest = program.process.stdout.read()

    assert looks[0]["at"] < looks[1]["at"]
    assert (ended, rest, program.log.read_text()) == (0, "", "")
