"""Faults of predictions: how they end, what they bring, and when they are seen."""

import pytest

from tests.support.processes import wait_for
from tests.support.sandbox import Fault, Sandbox
from tests.support.sandbox_user import SandboxUser


def test_a_censored_prompt_fails_in_flux_schnells_words(
    sandbox: Sandbox, user: SandboxUser
) -> None:
    sandbox.faults.add(Fault.censors("nude"))

    censored = user.gets_from("a nude cat", "failed")

    assert censored["output"] is None
    assert censored["error"] == (
        "All generated images contained NSFW content. Try running it again with a different prompt."
    )
    assert user.gets_from("a cat")["error"] is None


def test_a_prompt_can_fail_twice_and_then_succeed(sandbox: Sandbox, user: SandboxUser) -> None:
    sandbox.faults.add(Fault.fails("kitten", error="CUDA out of memory.", times=2))

    for _ in range(2):
        assert user.gets_from("a kitten", "failed")["error"] == "CUDA out of memory."
    assert user.gets_from("a kitten")["output"]


@pytest.mark.parametrize("status", ["canceled", "aborted", "failed", "queued"])
def test_a_prediction_can_end_in_any_way(sandbox: Sandbox, user: SandboxUser, status: str) -> None:
    sandbox.faults.add(Fault.ends(status))

    ended = user.gets_from("a cat", status)

    assert ended["output"] is None
    assert ("completed_at" in ended) == (status != "queued")


@pytest.mark.parametrize("output", [None, "", [], "https://x.test/a.png", {"url": "u"}, [None]])
def test_a_prediction_can_have_any_output(
    sandbox: Sandbox, user: SandboxUser, output: object
) -> None:
    sandbox.faults.add(Fault.outputs(output))

    assert user.gets_from("a cat")["output"] == output


def test_an_output_can_be_one_string_that_is_the_pictures_url(
    sandbox: Sandbox, user: SandboxUser
) -> None:
    sandbox.faults.add(Fault.outputs("{url}"))

    assert user.http.get(user.gets_from("a cat")["output"]).status_code == 200


def test_a_prediction_can_take_its_own_time(sandbox: Sandbox, user: SandboxUser) -> None:
    sandbox.faults.add(Fault.takes(60.0, "slow"), Fault.never_finishes("endless"))
    slow, endless = user.create("slow"), user.create("endless")
    user.gets_from("a cat")

    user.waits_for(slow, "processing")
    user.waits_for(endless, "processing")


def test_a_new_prediction_can_be_unknown_for_a_while(sandbox: Sandbox, user: SandboxUser) -> None:
    sandbox.faults.add(Fault.hides(0.3))
    prediction = user.create()

    assert user.http.get(prediction["urls"]["get"]).status_code == 404
    assert user.http.get("/v1/predictions").json()["results"] == []
    wait_for(
        "the prediction to be known",
        lambda: user.http.get(prediction["urls"]["get"]).status_code == 200,
    )
    assert len(user.http.get("/v1/predictions").json()["results"]) == 1


def test_a_list_that_lags_shows_what_is_old_enough_alone(
    sandbox: Sandbox, user: SandboxUser
) -> None:
    sandbox.faults.add(Fault.lags(0.5))
    prediction = user.create()

    assert user.look_at(prediction)["id"] == prediction["id"]
    assert user.http.get("/v1/predictions").json()["results"] == []
    wait_for(
        "the prediction to be listed", lambda: user.http.get("/v1/predictions").json()["results"]
    )
