"""One attempt is one POST, whatever the answer: unknown is not failed."""

import time
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from imagegen.failures import longest_settle_seconds
from tests.support.processes import Site, wait_for
from tests.support.sandbox import Fault, Sandbox
from tests.support.sandbox_user import SandboxUser

# Answers after which nobody can know whether the prediction was made, where it was.
LOST = {
    "500": Fault.answers(500, creates=True, times=1),
    "504": Fault.answers(504, creates=True, times=1),
    "reset": Fault.resets(creates=True, times=1),
    "html": Fault.answers_html(creates=True, times=1),
    "cut short": Fault.cuts_short(times=1),
}
# The same, where nothing was made.
REFUSED = {
    "500": Fault.answers(500, times=1),
    "reset": Fault.resets(times=1),
    "html": Fault.answers_html(creates=False, times=1),
}


def test_a_prediction_whose_answer_was_lost_is_found_in_the_list(
    site: Site, sandbox: Sandbox
) -> None:
    sandbox.faults.add(*(replace(fault, prompt=prompt) for prompt, fault in LOST.items()))
    site.mint(*LOST)

    with site.supervisor() as program:
        assert site.wait_until_done() == {"uploading": len(LOST)}
        metrics = program.metrics()

    assert sorted(str(entry.prompt) for entry in sandbox.ledger.creates()) == sorted(LOST)
    assert metrics['imagegen_reconciliations_total{result="found"}'] == len(LOST)
    assert site.query("SELECT DISTINCT generation_attempts FROM tokens_s0") == [(1,)]


def test_a_prediction_listed_only_after_the_settle_time_is_not_paid_for_again(
    site: Site, sandbox: Sandbox
) -> None:
    site.settings["IMAGEGEN_TEST_SETTLE_SECONDS"] = "1"
    # Longer than the list is waited for when nothing else is made.
    sandbox.faults.add(Fault.hides(6.5, times=1), Fault.resets(creates=True, times=1))
    site.mint("a picture")

    with site.supervisor():
        assert site.wait_until_done() == {"uploading": 1}

    assert site.query("SELECT state FROM generations ORDER BY id") == [("refused",), ("succeeded",)]
    assert len(sandbox.ledger.creates()) == 1


@pytest.mark.direct
def test_a_database_whose_clock_is_ahead_of_replicates_pays_no_second_time(
    site: Site, sandbox: Sandbox
) -> None:
    name = urlsplit(site.database_url).path.removeprefix("/")
    site.query(
        """CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE sql STABLE
           AS $$ SELECT pg_catalog.now() + interval '10 min' $$"""
    )
    site.query(f"ALTER DATABASE {name} SET search_path = public, pg_catalog")
    site.settings["IMAGEGEN_TEST_SETTLE_SECONDS"] = "2"
    sandbox.faults.add(Fault.resets(creates=True, times=1))
    site.mint("a picture")

    with site.supervisor():
        assert site.wait_until_done() == {"uploading": 1}

    assert len(sandbox.ledger.creates()) == 1


def test_a_model_without_a_seed_is_reconciled_by_its_prompt(site: Site, sandbox: Sandbox) -> None:
    site.settings |= {"IMAGEGEN_MARKER_INPUT": "none", "IMAGEGEN_LEASE_SECONDS": "2"}
    site.settings["IMAGEGEN_TEST_SETTLE_SECONDS"] = "1"
    sandbox.faults.add(Fault.resets(creates=True, times=3))
    site.mint("a picture", "a picture", "another picture")

    with site.supervisor():
        assert site.wait_until_done() == {"uploading": 3}

    assert [entry.seed for entry in sandbox.ledger.creates()] == [None] * 3
    assert len(sandbox.predictions.paid()) == 3


def test_a_prediction_whose_answer_comes_too_late_is_found_in_the_list(
    site: Site, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault.late(20.0, times=1))
    site.mint("a picture")

    with site.supervisor():
        assert site.wait_until_done() == {"uploading": 1}

    assert len(sandbox.ledger.creates()) == 1


@pytest.mark.parametrize("fault", REFUSED.values(), ids=REFUSED.keys())
def test_a_request_that_made_nothing_is_sent_again_when_the_list_has_settled(
    site: Site, sandbox: Sandbox, fault: Fault
) -> None:
    site.settings["IMAGEGEN_TEST_SETTLE_SECONDS"] = "2"
    sandbox.faults.add(fault)
    site.mint("a picture")

    with site.supervisor():
        assert site.wait_until_done() == {"uploading": 1}

    first, second = sandbox.ledger.creates()
    assert second.at_seconds - first.at_seconds > longest_settle_seconds(2.0) == 10.0
    states = site.query("SELECT state, error_kind FROM generations ORDER BY id")
    assert states == [("refused", "unavailable"), ("succeeded", None)]
    assert site.query("SELECT generation_attempts FROM tokens_s0") == [(1,)]


def test_a_request_that_made_nothing_is_sent_again_sooner_where_others_show_that_the_list_is_fresh(
    site: Site, sandbox: Sandbox
) -> None:
    site.settings["IMAGEGEN_TEST_SETTLE_SECONDS"] = "8"
    sandbox.faults.add(Fault.resets(times=1))
    site.mint("a picture")

    user = SandboxUser(sandbox.url)
    with site.supervisor(), user.http:
        wait_for("the request", lambda: len(sandbox.ledger.creates()) == 1)
        [lost] = sandbox.ledger.creates()
        wait_for("the settle time", lambda: time.monotonic() > lost.at_seconds + 10.0)
        user.create("somebody else's")
        assert site.wait_until_done() == {"uploading": 1}

    [_, again] = sandbox.ledger.about("a picture").creates()
    assert 8.0 < again.at_seconds - lost.at_seconds < longest_settle_seconds(8.0)


def test_a_prediction_that_the_list_shows_late_is_not_bought_again(
    site: Site, sandbox: Sandbox
) -> None:
    sandbox.faults.add(
        Fault.hides(3.0, "a picture"), Fault.answers(500, creates=True, times=1)
    )  # fmt: skip
    site.mint("a picture")

    with site.supervisor():
        assert site.wait_until_done() == {"uploading": 1}

    assert len(sandbox.ledger.creates()) == 1


REFUSALS = {
    "unauthorized": Fault.answers(401, times=2),
    "no_credit": Fault.answers(402, times=2),
    "misconfigured": Fault.answers(404, times=2),
}
THROTTLED = {"throttled": Fault.throttles(1, times=2)}  # after it, creates are slower


@pytest.mark.parametrize("refusals", [REFUSALS, THROTTLED], ids=["account", "throttled"])
def test_a_refusal_at_the_door_costs_no_attempt(
    site: Site, sandbox: Sandbox, refusals: dict[str, Fault]
) -> None:
    with site.supervisor() as program:
        for token_id, (reason, fault) in enumerate(refusals.items(), 1):
            sandbox.faults.add(fault)
            site.mint(reason, first_token_id=token_id)
            assert site.wait_until_done() == {"uploading": token_id}
        metrics = program.metrics()

    for reason in refusals:
        assert metrics[f'imagegen_refusals_total{{reason="{reason}"}}'] == 2
    assert site.query("SELECT DISTINCT generation_attempts FROM tokens_s0") == [(1,)]


def test_a_token_that_is_minted_anew_gets_an_image_of_its_own_authors_prompt(
    site: Site, sandbox: Sandbox
) -> None:
    sandbox.latency_seconds = 2.0
    site.mint("the former author's")
    with site.supervisor():
        wait_for("the request", lambda: len(sandbox.ledger.created()) == 1)
        site.query("DELETE FROM tokens_s0")
        site.query("UPDATE authors SET wallet_address = '0xformer'")
        site.mint("the new author's")
        assert site.wait_until_done() == {"uploading": 1}

    assert site.query("SELECT prompt FROM tokens_s0 JOIN generations USING (image_url)") == [
        ("the new author's",)
    ]


def test_an_unreachable_provider_burns_no_token(site: Site, sandbox: Sandbox) -> None:
    sandbox.stop()
    site.mint("a picture", "another picture")
    with site.supervisor() as program:
        program.wait_for_event("token.refused")

        sandbox.start()
        assert site.wait_until_done() == {"uploading": 2}

    assert site.query("SELECT sum(generation_attempts) FROM tokens_s0") == [(2,)]
