"""What the sandbox tells a judge, and how it comes and goes: in a test or as a process."""

import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.support.processes import wait_for
from tests.support.sandbox import Fault, Sandbox, SandboxClient
from tests.support.sandbox_user import PATIENCE_SECONDS, SandboxUser

CHECKOUT = Path(__file__).parents[3]

# What the judge reads.


def test_the_ledger_holds_every_request_in_order(sandbox: Sandbox, user: SandboxUser) -> None:
    sandbox.faults.add(Fault.never_finishes())
    prediction = user.create("a cat", seed=7)
    user.look_at(prediction)
    user.http.get("/v1/predictions?created_after=2026-01-01T00:00:00Z")
    user.http.post(prediction["urls"]["cancel"])
    user.http.put("/v1/account")

    asked = [(each.operation, each.status, each.prompt, each.seed) for each in sandbox.ledger]
    assert asked == [
        ("create", 201, "a cat", 7),
        ("get", 200, "a cat", 7),
        ("list", 200, None, None),
        ("cancel", 200, "a cat", 7),
        ("wrong method", 405, None, None),
    ]
    assert sandbox.ledger[0].prediction_id == prediction["id"]
    assert sandbox.ledger[2].path == "/v1/predictions?created_after=2026-01-01T00:00:00Z"


def test_the_judge_sees_what_was_paid_and_how_much_ran_at_once(
    sandbox: Sandbox, user: SandboxUser
) -> None:
    sandbox.faults.add(Fault.censors("nude"), Fault.takes(0.5, "slow"))
    user.create("slow", seed=1)
    user.create("slow", seed=2)
    user.gets_from("nude", "failed")
    user.gets_from("a cat")
    wait_for("three images", lambda: len(sandbox.predictions.paid()) == 3)

    assert sandbox.predictions.paid_by_prompt() == {"slow": 2, "a cat": 1}
    assert sandbox.predictions.paid_by_prompt_and_seed()["slow", 2] == 1
    assert sandbox.predictions.most_at_once() == 3
    assert len(sandbox.ledger.creates()) == 4


# As a process, and as a provider that goes away.


def test_a_stopped_sandbox_refuses_and_a_started_one_remembers(
    sandbox: Sandbox, user: SandboxUser
) -> None:
    prediction = user.create()
    sandbox.stop()
    with pytest.raises(httpx.TransportError):
        user.look_at(prediction)
    with pytest.raises(httpx.ConnectError):
        user.look_at(prediction)

    sandbox.start()

    user.waits_for(prediction, "succeeded")
    assert len(sandbox.ledger.creates()) == 1


def test_a_stop_breaks_off_what_hangs_at_once(sandbox: Sandbox, user: SandboxUser) -> None:
    sandbox.faults.add(Fault.black_hole())
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(user.post)
        wait_for("the request to arrive", lambda: len(sandbox.ledger) == 1)
        began = time.monotonic()
        sandbox.stop()

        assert time.monotonic() - began < 5
        assert isinstance(hanging.exception(), httpx.TransportError)


def test_a_fixed_port_is_taken_and_a_taken_one_is_an_error(sandbox: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free_port = probe.getsockname()[1]
    with Sandbox(port=free_port) as fixed:
        assert fixed.url == f"http://127.0.0.1:{free_port}"

    with pytest.raises(OSError, match="in use"):
        Sandbox(port=sandbox.port).start()


def test_many_customers_on_open_connections_are_all_served(sandbox: Sandbox) -> None:
    def buys(number: int) -> None:
        user = SandboxUser(sandbox.url)
        with user.http:
            for turn in range(10):
                user.create(f"cat {number} {turn}")

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(buys, range(20)))

    assert len({each.prompt for each in sandbox.predictions}) == 200


@pytest.mark.parametrize("stop_signal", [signal.SIGTERM, signal.SIGINT])
def test_a_sandbox_in_its_own_process_is_read_and_spoiled_from_outside(
    stop_signal: signal.Signals,
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "tests.support.sandbox", "--latency", "30"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=CHECKOUT,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        user = SandboxUser(url)
        with user.http, SandboxClient(url) as sandbox:
            sandbox.set_latency(0.0)
            sandbox.faults.add(Fault.answers(500, creates=True, times=1), Fault.censors("nude"))
            sandbox.faults.add(Fault.outputs(None, "empty"), Fault.never_finishes("endless"))

            assert user.post("first").status_code == 500
            assert user.gets_from("empty")["output"] is None
            user.gets_from("endless", "processing")
            user.gets_from("nude", "failed")
            sandbox.faults.clear()
            user.gets_from("nude")

            assert sandbox.predictions.paid_by_prompt() == {"first": 1, "empty": 1, "nude": 1}
            assert [entry.status for entry in sandbox.ledger.creates()] == [500, *[201] * 4]
            nonsense = user.http.post("/sandbox/faults", json={"prompt": "x", "hits": 1})
            assert nonsense.status_code == 400
        process.send_signal(stop_signal)
        assert process.wait(PATIENCE_SECONDS) == 0
    finally:
        process.kill()
        out, errors = process.communicate()
    assert (out, errors) == ("", "")


def test_a_port_that_is_taken_or_none_is_reported_in_one_line(sandbox: Sandbox) -> None:
    def error_at(port: int) -> str:
        command = [sys.executable, "-m", "tests.support.sandbox", "--port", str(port)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=30, cwd=CHECKOUT
        )
        assert done.returncode != 0
        return done.stderr.splitlines()[-1]

    assert error_at(sandbox.port) == (
        f"Error: cannot listen on {sandbox.url}: Address already in use: choose another --port"
    )
    assert "99999 is not in the range 0<=x<=65535" in error_at(99999)
