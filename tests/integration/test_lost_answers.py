"""Requests without an answer, while other things go wrong too: none is paid for twice."""

from pathlib import Path

import pytest

from tests.support.processes import Site, wait_for
from tests.support.sandbox import Fault, Sandbox
from tests.support.sandbox_user import SandboxUser

IS_OPEN = "SELECT 1 FROM generations WHERE state = 'open' AND requested_at IS NOT NULL"


@pytest.fixture
def lost(site: Site, sandbox: Sandbox) -> Site:
    """A site whose first answer is lost, after the prediction was made."""
    site.settings["IMAGEGEN_TEST_SETTLE_SECONDS"] = "2"
    sandbox.faults.add(Fault.resets(creates=True, times=1))
    return site


def paid_once(site: Site, sandbox: Sandbox) -> bool:
    return len(sandbox.ledger.creates()) == 1 and site.statuses() == {"uploading": 1}


def test_a_model_that_drops_the_seed_is_reconciled_by_prompt_and_time(
    lost: Site, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault.does_not_show("seed"))
    lost.mint("a picture")

    with lost.supervisor() as program:
        lost.wait_until_done()
        metrics = program.metrics()

    assert paid_once(lost, sandbox)
    assert metrics['imagegen_reconciliations_total{result="not_yet"}'] >= 1


def test_a_prediction_that_a_lagging_list_does_not_show_yet_is_not_paid_for_again(
    lost: Site, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault.lags(6.0))
    lost.mint("a picture")

    with lost.supervisor():
        lost.wait_until_done()

    assert paid_once(lost, sandbox)


def test_after_a_change_of_the_account_a_doubtful_request_is_not_paid_for_again(
    lost: Site, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault.hides(60.0, times=1))
    lost.mint("a picture")
    with lost.supervisor() as program:
        wait_for("the request to leave", lambda: lost.query(IS_OPEN))
        assert program.stop() == 0
    sandbox.faults.add(Fault.answers(200, {"username": "another"}, operation="account"))

    with lost.supervisor():
        assert lost.wait_until_done() == {"failed": 1}

    assert len(sandbox.ledger.creates()) == 1
    assert "another account" in lost.token()[2]
    assert lost.query("SELECT error_kind, account FROM generations") == [("unresolved", "sandbox")]


def test_a_token_that_failed_for_its_account_takes_its_image_when_the_account_is_back(
    lost: Site, sandbox: Sandbox
) -> None:
    lost.mint("a picture")
    sandbox.faults.add(Fault.hides(4.0, times=1))
    with lost.supervisor() as program:
        wait_for("the request to leave", lambda: lost.query(IS_OPEN))
        assert program.stop() == 0
    sandbox.faults.add(Fault.answers(200, {"username": "another"}, operation="account"))
    with lost.supervisor():
        lost.wait_until_done()
    sandbox.faults.clear()
    with SandboxUser(sandbox.url).http as http:
        wait_for(
            "the prediction to be listed", lambda: http.get("/v1/predictions").json()["results"]
        )

    assert lost.run("tokens", "retry", "1", "--yes").returncode == 0
    with lost.supervisor():
        lost.wait_until_done()

    assert paid_once(lost, sandbox)


def test_a_person_who_tries_again_with_another_account_gets_an_image(
    site: Site, sandbox: Sandbox
) -> None:
    """A request that made nothing, of the former account, is in nobody's way for days."""
    site.settings["IMAGEGEN_TEST_SETTLE_SECONDS"] = "1"
    sandbox.faults.add(Fault.answers(503))
    site.mint("a picture")
    with site.supervisor():
        wait_for(
            "a refusal", lambda: site.query("SELECT 1 FROM generations WHERE state = 'refused'")
        )
    sandbox.faults.clear()
    sandbox.faults.add(Fault.answers(200, {"username": "another"}, operation="account"))
    with site.supervisor():
        assert site.wait_until_done() == {"failed": 1}
        assert "another account" in site.token()[2]

        assert site.run("tokens", "retry", "1", "--yes").returncode == 0
        assert site.wait_until_done() == {"uploading": 1}


def test_the_model_that_is_sent_and_recorded_is_that_of_the_settings_at_that_moment(
    site: Site, sandbox: Sandbox, tmp_path: Path
) -> None:
    once = tmp_path / "once"
    site.settings["IMAGEGEN_CRASH_AT"] = f"claimed:kill-supervisor:{once}"
    site.mint("a picture")
    with site.program("supervise", "--procs", "1") as program:
        program.process.wait(30)
    site.settings["REPLICATE_MODEL_VERSION"] = "black-forest-labs/flux-dev"

    with site.supervisor():
        assert site.wait_until_done() == {"uploading": 1}

    [sent] = sandbox.ledger.creates()
    assert sent.path == "/v1/models/black-forest-labs/flux-dev/predictions"
    assert site.query("SELECT model FROM generations") == [("black-forest-labs/flux-dev",)]
