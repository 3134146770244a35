"""The main job as the user runs it: from minted tokens to their images."""

import contextlib
import json
import shutil
import signal
from collections import Counter
from itertools import pairwise

import httpx
import pytest

from tests.support.pooler import PgBouncer
from tests.support.processes import Site, files_end_at, wait_for
from tests.support.sandbox import Fault, Sandbox


def test_200_tokens_get_one_image_each_with_20_at_once(site: Site, sandbox: Sandbox) -> None:
    sandbox.latency_seconds = 1.0
    site.mint(*(f"picture number {n}" for n in range(200)))

    with site.supervisor():
        assert site.wait_until_done() == {"uploading": 200}

    assert len(sandbox.ledger.creates()) == 200
    assert set(sandbox.predictions.paid_by_prompt().values()) == {1}
    assert sandbox.predictions.most_at_once() <= 20
    missing = "SELECT count(*) FROM tokens_s0 WHERE image_url IS NULL OR generation_attempts <> 1"
    assert site.query(missing) == [(0,)]


def test_two_supervisors_on_one_database_share_the_tokens(site: Site, sandbox: Sandbox) -> None:
    sandbox.latency_seconds = 0.5
    with site.supervisor() as one, site.supervisor() as other:
        site.mint(*(f"picture number {n}" for n in range(200)))
        assert site.wait_until_done() == {"uploading": 200}

        worked = [len(program.events("token.claimed")) for program in (one, other)]
    assert len(sandbox.ledger.creates()) == 200
    assert set(sandbox.predictions.paid_by_prompt().values()) == {1}
    assert sum(worked) == 200
    assert min(worked) > 0


@pytest.mark.direct
def test_a_token_is_picked_up_at_once_although_workers_poll_seldom(
    site: Site, sandbox: Sandbox
) -> None:
    with site.supervisor("--poll-interval", "60"):
        site.mint("a picture")

        wait_for("the request", lambda: len(sandbox.ledger.creates()) == 1, seconds=3)


def test_a_transient_failure_is_tried_three_times_and_then_reported(
    site: Site, sandbox: Sandbox
) -> None:
    error = "Director: unexpected error handling prediction (E6716)"
    sandbox.faults.add(
        Fault.fails("doomed", error=error), Fault.fails("shaky", error=error, times=2)
    )
    site.mint("a doomed picture", "a shaky picture", *["a picture"] * 5)

    with site.supervisor():
        site.wait_until_done()

    tokens = """SELECT status, generation_attempts, generation_error FROM tokens_s0
                WHERE token_id < 3 ORDER BY token_id"""
    assert site.query(tokens) == [("failed", 3, error), ("uploading", 3, None)]
    times = [entry.at_seconds for entry in sandbox.ledger.creates().about("doomed")]
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert len(pauses) == 2
    assert pauses[0] > 0.8
    assert pauses[1] > 1.6


def test_a_censored_prompt_is_replaced_once_by_the_fallback(site: Site, sandbox: Sandbox) -> None:
    site.settings["FALLBACK_CENSORED_PROMPT"] = "a bowl of fruit"
    sandbox.faults.add(Fault.censors("naughty"))
    site.mint("a naughty picture")

    with site.supervisor() as program:
        assert site.wait_until_done() == {"uploading": 1}
        (censored,) = program.wait_for_event("token.censored")

    assert (censored["token_id"], censored["prompt"]) == (1, "a naughty picture")
    asked = [entry.prompt for entry in sandbox.ledger.creates()]
    assert asked == ["a naughty picture", "a bowl of fruit"]
    assert site.query("SELECT generation_attempts FROM tokens_s0") == [(1,)]


def test_a_fallback_that_is_refused_too_fails_the_token(site: Site, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault.censors())
    site.mint("a picture")

    with site.supervisor():
        assert site.wait_until_done() == {"failed": 1}

    ((attempts, error),) = site.query("SELECT generation_attempts, generation_error FROM tokens_s0")
    assert attempts == 1
    assert "the fallback prompt was refused too" in str(error)
    assert len(sandbox.ledger.creates()) == 2


def test_prompts_that_cannot_be_sent_fail_with_a_reason_and_cost_nothing(
    site: Site, sandbox: Sandbox
) -> None:
    site.mint(None, " \n\t ", "x" * 1001)

    with site.supervisor():
        assert site.wait_until_done() == {"failed": 3}

    errors = site.query("SELECT generation_error FROM tokens_s0 ORDER BY token_id")
    assert [error for (error,) in errors] == [
        "the author has no prompt",
        "the author has no prompt",
        "the prompt has 1001 characters, more than 1000",
    ]
    assert not sandbox.ledger.creates()


def test_prompts_arrive_as_they_were_written_but_in_one_line(site: Site, sandbox: Sandbox) -> None:
    site.settings["DEFAULT_PROMPT"] = "anything"
    exact = "é" * 1000
    site.mint('"quotes" & <b>markup</b> 👩‍🚀', "two\nlines\x07", exact, None)

    with site.supervisor():
        assert site.wait_until_done() == {"uploading": 4}

    asked = {entry.prompt for entry in sandbox.ledger.creates()}
    assert asked == {'"quotes" & <b>markup</b> 👩‍🚀', "two lines", exact, "anything"}


def test_the_models_other_inputs_come_from_the_setting(site: Site, sandbox: Sandbox) -> None:
    site.settings["IMAGEGEN_MODEL_INPUT"] = json.dumps({"aspect_ratio": "16:9"})
    site.settings["REPLICATE_MODEL_VERSION"] = "black-forest-labs/flux-dev:" + "a" * 64
    site.mint("a picture")

    with site.supervisor():
        assert site.wait_until_done() == {"uploading": 1}

    (request,) = sandbox.ledger.creates()
    assert request.path == "/v1/predictions"


def test_metrics_tell_what_happened_and_survive_a_restarted_worker(
    site: Site, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault.censors("naughty"))
    site.mint("a picture", "a naughty picture", None)

    with site.supervisor() as program:
        site.wait_until_done()
        before = program.metrics()
        pids = program.worker_pids()
        for pid in pids.values():
            program.kill(pid)
        program.wait_for_event("worker.started", 4)
        after = wait_for("two workers", lambda: alive(program.metrics(), 2))

    assert before['imagegen_attempts_total{prompt="author"}'] == 2
    assert before['imagegen_attempts_total{prompt="fallback"}'] == 1
    assert before['imagegen_failures_total{kind="content_policy"}'] == 1
    assert before['imagegen_failures_total{kind="invalid_prompt"}'] == 1
    assert before['imagegen_generations_total{outcome="succeeded"}'] == 2
    assert before['imagegen_tokens{status="uploading"}'] == 2
    assert before["imagegen_generation_duration_seconds_count"] == 2
    assert after['imagegen_attempts_total{prompt="author"}'] == 2
    restarts = Counter({name: n for name, n in after.items() if "worker_restarts_total" in name})
    assert restarts.total() == 2


@pytest.mark.parametrize("is_full", [True, False])
def test_on_a_full_disk_or_without_temporary_folder_workers_are_replaced_and_counted(
    site: Site, sandbox: Sandbox, is_full: bool
) -> None:
    temporary = site.folder / "temporary"
    temporary.mkdir()
    site.settings["TMPDIR"] = str(temporary)
    site.mint("a picture")

    disk = files_end_at(64 * 1024) if is_full else contextlib.nullcontext()
    with disk, site.supervisor() as program:
        shutil.rmtree(temporary)
        assert site.wait_until_done() == {"uploading": 1}
        for deaths in (1, 2):
            program.kill(program.worker_pids()["worker-0"])
            program.wait_for_event("worker.started", 2 + deaths)
        metrics = program.metrics()
        assert program.stop() == 0

    assert metrics['imagegen_generations_total{outcome="succeeded"}'] == 1
    assert metrics['imagegen_worker_restarts_total{cause="SIGKILL",slot="worker-0"}'] == 2


def alive(metrics: dict[str, float], workers: int) -> dict[str, float] | None:
    return metrics if metrics["imagegen_workers"] == workers else None


def test_readyz_says_why_nothing_goes_on(site: Site, sandbox: Sandbox) -> None:
    with site.supervisor() as program:
        url = program.metrics_url().replace("/metrics", "/readyz")
        assert httpx.get(url).text == "ok\n"

        sandbox.faults.add(Fault.answers(402))
        site.mint("a picture")
        program.wait_for_event("gate.closed")

        answer = httpx.get(url)
        assert answer.status_code == 503
        assert "the gate of worker-" in answer.text


def test_a_stop_ends_everything_and_leaves_no_token_behind(site: Site, sandbox: Sandbox) -> None:
    sandbox.latency_seconds = 1.0
    site.mint(*["a picture"] * 30)

    for number in (signal.SIGTERM, signal.SIGINT):
        with site.supervisor() as program:
            wait_for("work", lambda: "generating" in site.statuses())
            children = program.children()
            assert program.stop(number) == 0
            assert len(children) == 3
            assert not [pid for pid in children if program.is_alive(pid)]
        assert "generating" not in site.statuses()

    with site.supervisor():
        assert site.wait_until_done() == {"uploading": 30}
    assert len(sandbox.ledger.creates()) == 30


def test_work_that_outlasts_the_grace_is_handed_over_not_paid_for_again(
    site: Site, sandbox: Sandbox
) -> None:
    sandbox.latency_seconds = 3.0
    site.mint(*["a picture"] * 20)
    with site.supervisor("--grace", "0") as program:
        wait_for("twenty predictions", lambda: len(sandbox.ledger.created()) == 20)
        program.wait_for_event("token.claimed", 20)
        program.stop(seconds=5)
    assert site.statuses() == {"generating": 20}

    with site.supervisor() as program:
        assert site.wait_until_done() == {"uploading": 20}
        assert len(program.events("prediction.adopted")) == 20

    assert len(sandbox.ledger.creates()) == 20


def test_behind_a_transaction_pooler_workers_poll_and_say_so_once(
    site: Site, sandbox: Sandbox, pooler: PgBouncer | None
) -> None:
    with site.supervisor() as program:
        site.mint("a picture")
        assert site.wait_until_done() == {"uploading": 1}
        said = [line["worker"] for line in program.events("listener.impossible")]

    assert sorted(said) == (["worker-0", "worker-1"] if pooler else [])


@pytest.mark.once
def test_a_worker_without_a_supervisor_goes_on_when_its_terminal_closes(site: Site) -> None:
    with site.program("worker") as program:
        program.wait_until_ready(1)

        program.hang_up()
        site.mint("a picture")

        assert site.wait_until_done() == {"uploading": 1}
        assert program.stop() == 0
