"""The sandbox gives bad answers and bad predictions when it is told to."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Literal

import httpx
import pytest

from tests.support.processes import wait_for
from tests.support.sandbox import Fault, PredictionScript, ReplyScript, Sandbox
from tests.support.sandbox_user import SandboxUser

# Faults of the answer.


def test_an_answer_of_500_may_hide_a_prediction_or_not(sandbox: Sandbox, user: SandboxUser) -> None:
    sandbox.faults.add(Fault.answers(500, prompt="bought", creates=True))
    sandbox.faults.add(Fault.answers(500, prompt="refused"))

    bought, refused = user.post("bought"), user.post("refused")

    assert bought.status_code == refused.status_code == 500
    assert bought.json() == {"detail": "Internal server error", "status": 500}
    assert [each.prompt for each in sandbox.predictions] == ["bought"]
    assert [entry.prompt for entry in sandbox.ledger.created()] == ["bought"]


@pytest.mark.parametrize(("given", "status"), [(None, 201), (504, 504)])
def test_a_gateway_may_send_a_request_twice(
    sandbox: Sandbox, user: SandboxUser, given: int | None, status: int
) -> None:
    sandbox.faults.add(Fault.repeats(given, times=1))

    assert user.post("a cat", seed=7).status_code == status
    assert user.post("a dog").status_code == 201

    assert [(each.prompt, each.seed) for each in sandbox.predictions] == [
        ("a cat", 7), ("a cat", 7), ("a dog", None),
    ]  # fmt: skip


def test_a_gateway_may_send_a_request_again_after_it_was_answered(
    sandbox: Sandbox, user: SandboxUser
) -> None:
    first = user.create("a cat", num_outputs=2)["id"]

    again = sandbox.repeat(first)

    assert [(each.id, each.prompt, each.images) for each in sandbox.predictions] == [
        (first, "a cat", 2), (again, "a cat", 2),
    ]  # fmt: skip


def test_others_use_the_same_account_from_the_playground_or_a_program(
    sandbox: Sandbox, user: SandboxUser
) -> None:
    user.create("ours")
    sandbox.add("played", model="owner/name", source="web")
    sandbox.add("theirs", model="owner/name")
    sandbox.age(3600)

    listed = user.http.get("/v1/predictions").json()["results"]

    assert [each["source"] for each in listed] == ["api", "web", "api"]
    now = datetime.now(UTC)
    ages = [(now - datetime.fromisoformat(each["created_at"])).total_seconds() for each in listed]
    assert all(3600 <= age < 3660 for age in ages)


def test_a_fault_hits_as_often_as_it_should(sandbox: Sandbox, user: SandboxUser) -> None:
    sandbox.faults.add(Fault.answers(502, times=2))

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: user.post().status_code, range(8)))

    assert sorted(statuses) == [201] * 6 + [502] * 2


def test_a_fault_hits_only_its_operation_and_prompt(sandbox: Sandbox, user: SandboxUser) -> None:
    sandbox.faults.add(Fault.answers(503, operation="get", prompt="cat"))
    cat, dog = user.create("a cat"), user.create("a dog")

    assert user.http.get(cat["urls"]["get"]).status_code == 503
    assert user.http.get(dog["urls"]["get"]).status_code == 200
    assert user.http.get("/v1/predictions").status_code == 200


def test_a_removed_fault_is_over(sandbox: Sandbox, user: SandboxUser) -> None:
    unwell, away = Fault.answers(503, operation=None), Fault.resets(operation="list")
    sandbox.faults.add(unwell, away)
    assert user.http.get("/v1/account").status_code == 503

    sandbox.faults.remove(unwell)
    assert [sandbox.faults.is_in_force(each) for each in (unwell, away)] == [False, True]
    assert user.http.get("/v1/account").status_code == 200

    sandbox.faults.clear()
    assert user.http.get("/v1/predictions").status_code == 200


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 422, 429, 500, 502, 504, 524])
def test_every_status_can_be_had_and_makes_nothing(
    sandbox: Sandbox, user: SandboxUser, status: int
) -> None:
    sandbox.faults.add(Fault.answers(status))

    assert user.post().status_code == status
    assert not sandbox.predictions


def test_an_answer_can_be_made_up(sandbox: Sandbox, user: SandboxUser) -> None:
    sandbox.faults.add(Fault.answers(418, {"detail": "no tea"}, headers={"retry-after": "7"}))

    response = user.post()

    assert (response.status_code, response.json()) == (418, {"detail": "no tea"})
    assert response.headers["retry-after"] == "7"


def test_an_answer_can_be_bytes_that_are_no_text(sandbox: Sandbox, user: SandboxUser) -> None:
    sandbox.faults.add(Fault.answers(200, "no \udcff"))

    assert user.post().content == b"no \xff"


def test_a_true_answer_can_have_other_values_in_it(sandbox: Sandbox, user: SandboxUser) -> None:
    queued = Fault.changes({"status": "queued"}, operation="get", times=1)
    sandbox.faults.add(queued, Fault.never_starts())
    prediction = user.create("a cat")

    assert user.look_at(prediction) == {**prediction, "status": "queued"}
    assert user.look_at(prediction) == prediction


def test_a_throttled_request_says_when_to_come_back(sandbox: Sandbox, user: SandboxUser) -> None:
    sandbox.faults.add(Fault.throttles(retry_after=30))

    response = user.post()

    assert (response.status_code, response.json()["retry_after"]) == (429, 30)
    assert response.json()["detail"].endswith("Your rate limit resets in ~30s.")


@pytest.mark.parametrize(("creates", "made"), [(False, 0), (True, 1)])
def test_a_reset_connection_may_have_made_a_prediction(
    sandbox: Sandbox, user: SandboxUser, creates: bool, made: int
) -> None:
    sandbox.faults.add(Fault.resets(creates=creates, times=1))

    with pytest.raises(httpx.ReadError, match="reset"):
        user.post()

    assert len(sandbox.predictions) == made
    assert sandbox.ledger[0].status is None
    assert user.post().status_code == 201


def test_a_late_answer_comes_late(sandbox: Sandbox, user: SandboxUser) -> None:
    sandbox.faults.add(Fault.late(0.2))
    began = time.monotonic()

    assert user.post().status_code == 201
    assert time.monotonic() - began >= 0.2


def requests_under_way() -> list[str]:
    """The threads of the sandbox that answer, by the name that socketserver gives them."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.endswith("(process_request_thread)")]


def test_a_late_answer_is_lost_without_a_word_when_nobody_waits_for_it(
    sandbox: Sandbox, capfd: pytest.CaptureFixture[str]
) -> None:
    sandbox.faults.add(Fault.late(0.4, times=1))
    hasty = SandboxUser(sandbox.url, timeout=0.1)

    with hasty.http, pytest.raises(httpx.ReadTimeout):
        hasty.post()
    wait_for("the request to arrive", lambda: len(sandbox.ledger) == 1)
    wait_for("its answer to be tried", lambda: not requests_under_way())

    assert len(sandbox.predictions) == 1
    assert sandbox.ledger[0].prediction_id == sandbox.predictions[0].id
    assert sandbox.ledger[0].status is None
    assert capfd.readouterr() == ("", "")


def test_a_page_of_html_can_come_with_status_200(sandbox: Sandbox, user: SandboxUser) -> None:
    sandbox.faults.add(Fault.answers_html())

    response = user.post()

    assert response.status_code == 200
    assert response.text.startswith("<!DOCTYPE html>")
    assert len(sandbox.predictions) == 1


def test_a_body_can_be_cut_short(sandbox: Sandbox, user: SandboxUser) -> None:
    sandbox.faults.add(Fault.cuts_short())

    with pytest.raises(httpx.RemoteProtocolError, match="complete message body"):
        user.post()

    assert len(sandbox.predictions) == 1
    assert sandbox.ledger[0].status is None


@pytest.mark.parametrize("part", ["head", "body"])
def test_a_dripping_answer_outlasts_a_read_timeout(
    sandbox: Sandbox, part: Literal["head", "body"]
) -> None:
    sandbox.faults.add(Fault.drips(0.6, part))
    user = SandboxUser(sandbox.url, timeout=0.3)
    began = time.monotonic()

    with user.http:
        assert user.create()["status"] == "starting"
    assert time.monotonic() - began >= 0.6


@pytest.mark.parametrize(("creates", "made"), [(False, 0), (True, 1)])
def test_a_black_hole_never_answers(sandbox: Sandbox, creates: bool, made: int) -> None:
    sandbox.faults.add(Fault.black_hole(creates=creates))
    user = SandboxUser(sandbox.url, timeout=0.2)

    with user.http, pytest.raises(httpx.ReadTimeout):
        user.post()

    assert len(sandbox.predictions) == made


def test_a_black_hole_can_end(sandbox: Sandbox, user: SandboxUser) -> None:
    sandbox.faults.add(Fault.black_hole(0.1))

    with pytest.raises(httpx.RemoteProtocolError, match="disconnected"):
        user.post()


# Faults of the prediction.


def test_a_fault_that_says_nothing_or_two_things_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="either"):
        Fault(prompt="a cat")
    with pytest.raises(ValueError, match="either"):
        Fault(reply=ReplyScript(status=500), script=PredictionScript())
    with pytest.raises(ValueError, match="status"):
        Fault(reply=ReplyScript())
    with pytest.raises(ValueError, match="No operation"):
        Fault.from_json({"operation": "creat", "reply": {"status": 500}})
    with pytest.raises(ValueError, match="at least once"):
        Fault.censors(times=0)
