"""`imagegen tokens retry --fallback`: for refusals of content that imagegen did not recognize."""

import signal

import pytest

from imagegen import database
from imagegen.failures import Kind
from imagegen.operator import retry as retries
from imagegen.queue import FailAttempt, Requeue
from tests.support.generation_rows import insert_failed_generation, insert_generation, insert_tokens
from tests.support.judge import judge
from tests.support.processes import Site, wait_for
from tests.support.queue_fixtures import MakeQueue, accepted_claim, claim_one
from tests.support.sandbox import Fault, Sandbox

PROMPTS = (
    "SELECT prompt, fallback, state FROM generations WHERE requested_at IS NOT NULL ORDER BY id"
)
FLOWERS = "flowers in a vase"


@pytest.fixture(autouse=True)
def fallback_prompt(site: Site) -> None:
    """The workers' own; the shell of the operator does not have it."""
    site.settings["FALLBACK_CENSORED_PROMPT"] = FLOWERS


def retry(site: Site, *arguments: str, code: int = 0) -> str:
    done = site.call("tokens", "retry", "--fallback", *arguments)
    assert done.returncode == code, done.stderr
    return done.stdout.rstrip()


def test_a_refusal_that_slipped_through_gets_an_image_of_the_fallback_prompt(
    site: Site, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault.fails("a scandal", error="the keeper says no"))
    site.mint("a scandal", *(f"picture {number}" for number in range(3)))
    with site.supervisor(procs=1):
        assert site.wait_until_done() == {"failed": 1, "uploading": 3}
        del site.settings["FALLBACK_CENSORED_PROMPT"]

        assert retry(site, "1") == "1 token gets new attempts with the fallback prompt"

        assert site.wait_until_done() == {"uploading": 4}

    assert site.token() == ("uploading", 1, None)
    assert site.query(PROMPTS)[-1] == (FLOWERS, True, "succeeded")
    assert len(sandbox.predictions.about("a scandal")) == 3
    shown = site.call("tokens", "show", "1").stdout
    assert "error       an operator asked for the fallback prompt" in shown


@pytest.mark.parametrize(
    "trouble",
    [
        Fault.answers(402, prompt=FLOWERS, times=2),
        Fault.answers(503, prompt=FLOWERS, times=1),
        Fault.fails(FLOWERS, error="Internal error.", times=2),
        Fault.resets(prompt=FLOWERS, times=1),
    ],
    ids=["refused", "unavailable", "failed twice", "reset"],
)
def test_the_authors_prompt_is_not_sent_again_whatever_happens_to_the_fallback(
    site: Site, sandbox: Sandbox, trouble: Fault
) -> None:
    site.settings["IMAGEGEN_TEST_SETTLE_SECONDS"] = "1"
    insert_tokens(site, "failed", 1)
    retry(site, "1")
    sandbox.faults.add(trouble)

    with site.supervisor(procs=1):
        assert site.wait_until_done() == {"uploading": 1}

    assert {entry.prompt for entry in sandbox.ledger.creates()} == {FLOWERS}
    judge(site, sandbox)


def test_a_killed_worker_leaves_the_fallback_prompt_to_the_next(
    site: Site, sandbox: Sandbox
) -> None:
    insert_tokens(site, "failed", 1)
    retry(site, "1")
    sandbox.latency_seconds = 3.0
    with site.supervisor(procs=1) as program:
        wait_for("the request", lambda: len(sandbox.predictions) == 1)
        program.kill(next(iter(program.worker_pids().values())), signal.SIGKILL)
        assert site.wait_until_done() == {"uploading": 1}

    assert [entry.prompt for entry in sandbox.ledger.creates()] == [FLOWERS]


def test_a_fallback_that_is_refused_too_fails_the_token(site: Site, sandbox: Sandbox) -> None:
    insert_tokens(site, "failed", 1)
    retry(site, "1")
    sandbox.faults.add(Fault.censors(FLOWERS))

    with site.supervisor(procs=1):
        assert site.wait_until_done() == {"failed": 1}

    assert "the fallback prompt was refused too" in str(site.token()[2])
    assert len(sandbox.ledger.creates()) == 1


def test_a_plain_retry_sends_the_authors_prompt_again(site: Site, sandbox: Sandbox) -> None:
    insert_tokens(site, "failed", 1)
    retry(site, "1")
    site.query("UPDATE tokens_s0 SET status = 'failed'")
    site.call("tokens", "retry", "1")

    with site.supervisor(procs=1):
        assert site.wait_until_done() == {"uploading": 1}

    assert [entry.prompt for entry in sandbox.ledger.creates()] == ["a prompt"]


def test_a_token_that_waits_gets_it_too_and_one_at_work_is_left_alone(site: Site) -> None:
    insert_tokens(site, "detected", 1, generate_after="2999-01-01", generation_error="again")
    insert_tokens(site, "generating", 2)

    assert retry(site, "1", "2").startswith("1 token gets")

    [(after, error)] = site.query(
        "SELECT generate_after, generation_error FROM tokens_s0 WHERE token_id = 1"
    )
    assert (after, error) == (None, retries.ASKED)
    assert site.query("SELECT token_id FROM generations") == [(1,)]


def test_an_image_that_exists_is_handed_on_all_the_same(site: Site) -> None:
    insert_tokens(site, "failed", 1)
    insert_generation(site, 1)

    assert retry(site, "1") == "1 token is handed on again"


def test_all_that_failed_of_one_kind_get_the_fallback_prompt(site: Site) -> None:
    insert_tokens(site, "failed", 1, 2)
    insert_failed_generation(site, 1, "unknown")
    insert_failed_generation(site, 2, "transient")

    said = retry(site, "--failed-since", "1h", "--error-kind", "unknown", "--yes")

    assert said == "1 token gets new attempts with the fallback prompt"
    assert site.statuses() == {"detected": 1, "failed": 1}


def test_a_token_that_changes_after_the_look_is_left_alone(site: Site) -> None:
    insert_tokens(site, "failed", 1)
    with database.connect(site.database_url) as connection:
        tables = database.read_tables(connection)
        plan = retries.plan_named(connection, tables, [1], lost=False, fallback=True)
        site.query("UPDATE tokens_s0 SET status = 'generating'")

        changed = list(retries.retry(connection, tables, plan, fallback=True))

    assert changed == [("retry", 0)]
    assert site.query("SELECT count(*) FROM generations") == [(0,)]


def test_the_time_to_give_up_starts_again_with_it(site: Site, make_queue: MakeQueue) -> None:
    insert_tokens(site, "detected", 1)
    queue = make_queue(give_up_after_seconds=3600.0)
    assert queue.apply(claim_one(queue), Requeue("intercepted", "no", 0))
    site.query("UPDATE generations SET refused_since = now() - interval '2 hours'")
    retry(site, "1")

    asked = claim_one(queue)
    assert (asked.fallback, asked.prompt, asked.attempt) == (True, None, 1)
    applied = queue.apply(asked, Requeue("intercepted", "no", 0))

    assert applied is not None
    assert not applied.failed


def test_after_a_fallback_that_failed_the_next_attempt_goes_on_with_it(
    site: Site, make_queue: MakeQueue
) -> None:
    insert_tokens(site, "failed", 1)
    retry(site, "1")
    queue = make_queue()
    claimed = accepted_claim(queue)
    assert queue.apply(claimed, FailAttempt(Kind.TRANSIENT, "oh", token_fails=False, counted=1))

    again = claim_one(queue)

    assert (again.fallback, again.prompt, again.attempt) == (True, claimed.prompt, 2)


def test_narrow_columns_and_ids_of_another_type_are_no_hindrance(site: Site) -> None:
    site.query("ALTER TABLE tokens_s0 ALTER generation_error TYPE varchar(20)")
    site.query("ALTER TABLE tokens_s0 ALTER token_id TYPE numeric(78, 0)")
    insert_tokens(site, "failed", 1, generation_error="oh")

    assert retry(site, "1") == "1 token gets new attempts with the fallback prompt"
    assert site.query("SELECT generation_error FROM tokens_s0") == [("an operator asked fo",)]
