"""The sandbox behaves like Replicate's API, over real HTTP."""

import re
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from replicate.client import Client as OfficialClient

from imagegen.sandbox import DEFAULT_TOKEN, Fate, Fault, Reply, Sandbox, SandboxClient

CREATE = "/v1/models/black-forest-labs/flux-schnell/predictions"
NO_SUCH_THING = {"detail": "The requested resource could not be found.", "status": 404}
PATIENCE_SECONDS = 10.0


class Customer:
    """Somebody with an account at Replicate."""

    def __init__(self, url: str, token: str = DEFAULT_TOKEN, timeout: float = 5.0) -> None:
        headers = {"authorization": f"Bearer {token}"}
        # Nothing to verify over plain HTTP; loading the authorities would take most of the time.
        self.http = httpx.Client(
            base_url=url, headers=headers, timeout=timeout, trust_env=False, verify=False
        )

    def post(self, prompt: str = "a cat", *, headers: Any = None, **inputs: Any) -> httpx.Response:
        body = {"input": {"prompt": prompt, **inputs}}
        return self.http.post(CREATE, json=body, headers=headers)

    def create(self, prompt: str = "a cat", *, headers: Any = None, **inputs: Any) -> Any:
        return self.post(prompt, headers=headers, **inputs).raise_for_status().json()

    def look_at(self, prediction: Any) -> Any:
        return self.http.get(prediction["urls"]["get"]).raise_for_status().json()

    def waits_for(self, prediction: Any, status: str) -> Any:
        seen = self.look_at(prediction)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while seen["status"] != status and time.monotonic() < deadline:
            time.sleep(0.01)
            seen = self.look_at(prediction)
        assert seen["status"] == status
        return seen

    def gets_from(self, fault_prompt: str, status: str = "succeeded") -> Any:
        return self.waits_for(self.create(fault_prompt), status)


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "It never came about"
        time.sleep(0.01)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(latency_seconds=0.05) as running:
        yield running


@pytest.fixture
def customer(sandbox: Sandbox) -> Iterator[Customer]:
    customer = Customer(sandbox.url)
    with customer.http:
        yield customer


# Making a prediction and watching it.


def test_a_new_prediction_looks_like_the_recorded_ones(
    sandbox: Sandbox, customer: Customer
) -> None:
    response = customer.post("a cat", seed=7)

    created = response.json()
    assert response.status_code == 201
    assert response.headers["ratelimit-remaining"] == "599"
    assert response.headers["ratelimit-reset"] == "1"
    assert re.fullmatch("[a-z0-9]{26}", created.pop("id"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", created.pop("created_at"))
    assert created.pop("urls")["get"].startswith(f"{sandbox.url}/v1/predictions/")
    assert created == {
        "model": "black-forest-labs/flux-schnell",
        "version": "hidden",
        "input": {"prompt": "a cat", "seed": 7},
        "logs": "",
        "output": None,
        "data_removed": False,
        "error": None,
        "status": "starting",
        "source": "api",
    }


def test_a_prediction_goes_from_starting_over_processing_to_succeeded(
    sandbox: Sandbox, customer: Customer
) -> None:
    sandbox.faults.add(Fault(fate=Fate(starts_after_seconds=0.15, latency_seconds=0.4)))
    prediction = customer.create()

    assert customer.look_at(prediction)["status"] == "starting"
    customer.waits_for(prediction, "processing")
    done = customer.waits_for(prediction, "succeeded")
    assert done["output"] == [f"{sandbox.url}/files/{prediction['id']}/out-0.png"]
    assert done["metrics"] == {"predict_time": 0.25, "total_time": 0.4}
    assert done["created_at"] < done["started_at"] < done["completed_at"]


def test_several_outputs_have_an_url_each(customer: Customer) -> None:
    done = customer.waits_for(customer.create(num_outputs=3), "succeeded")

    assert len({customer.http.get(url).content for url in done["output"]}) == 3


def test_latency_can_be_changed_while_it_runs(sandbox: Sandbox, customer: Customer) -> None:
    sandbox.latency_seconds = 60.0
    slow = customer.create()
    sandbox.latency_seconds = 0.0

    assert customer.look_at(customer.create())["status"] == "succeeded"
    customer.waits_for(slow, "processing")


@pytest.mark.parametrize(
    ("version", "model", "kept"),
    [
        ("owner/name", "owner/name", "hidden"),
        (f"owner/name:{'a' * 64}", "owner/name", "a" * 64),
        ("b" * 64, "sandbox/some-model", "b" * 64),
    ],
)
def test_a_version_is_a_name_or_a_name_and_version_or_a_version(
    customer: Customer, version: str, model: str, kept: str
) -> None:
    body = {"version": version, "input": {"prompt": "a cat"}}
    created = customer.http.post("/v1/predictions", json=body).json()

    assert (created["model"], created["version"]) == (model, kept)


def test_a_version_that_is_none_of_these_is_refused(customer: Customer) -> None:
    body = {"version": "owner/name:latest", "input": {"prompt": "a cat"}}
    response = customer.http.post("/v1/predictions", json=body)

    assert response.status_code == 422
    assert response.json()["title"] == "Invalid version or not permitted"


def test_a_canceled_prediction_is_canceled_and_a_finished_one_stays_as_it_is(
    sandbox: Sandbox, customer: Customer
) -> None:
    sandbox.faults.add(Fault.never_finishes("endless"))
    endless, finished = customer.create("endless"), customer.gets_from("a cat")

    canceled = customer.http.post(endless["urls"]["cancel"])
    assert (canceled.status_code, canceled.json()["status"]) == (200, "canceled")
    assert customer.look_at(endless)["completed_at"]
    assert customer.http.post(finished["urls"]["cancel"]).json()["status"] == "succeeded"


@pytest.mark.parametrize(
    ("fault", "end"), [(Fault.never_finishes(), "canceled"), (Fault.never_starts(), "aborted")]
)
def test_cancel_after_ends_what_runs_and_what_never_started(
    sandbox: Sandbox, customer: Customer, fault: Fault, end: str
) -> None:
    sandbox.faults.add(fault)
    prediction = customer.create(headers={"Cancel-After": "1s"})

    assert customer.waits_for(prediction, end)["metrics"]["total_time"] == 1.0


@pytest.mark.parametrize("text", ["300", "30s", "5m", "2h", "1m30s"])
def test_cancel_after_takes_all_of_replicates_spellings(customer: Customer, text: str) -> None:
    assert customer.post(headers={"Cancel-After": text}).status_code == 201


@pytest.mark.parametrize("text", ["", "soon", "5 minutes", "-1"])
def test_cancel_after_that_is_no_duration_is_refused(customer: Customer, text: str) -> None:
    assert customer.post(headers={"Cancel-After": text}).status_code == 422


def test_inputs_and_outputs_are_removed_after_the_retention() -> None:
    with Sandbox(latency_seconds=0.0, retention_seconds=0.2) as sandbox:
        customer = Customer(sandbox.url)
        with customer.http:
            prediction = customer.create()
            url = customer.look_at(prediction)["output"][0]
            eventually(lambda: customer.look_at(prediction)["data_removed"])

            seen = customer.look_at(prediction)
            assert (seen["status"], seen["input"], seen["output"]) == ("succeeded", {}, None)
            assert customer.http.get(url).status_code == 404


def test_the_official_sdk_takes_it_for_replicate(sandbox: Sandbox, customer: Customer) -> None:
    prediction = customer.gets_from("a cat")
    sdk = OfficialClient(DEFAULT_TOKEN, base_url=sandbox.url)
    with sdk._client:
        assert sdk.predictions.get(prediction["id"]).output == prediction["output"]
        assert [each.id for each in sdk.predictions.list()] == [prediction["id"]]
        model = sdk.models.get("black-forest-labs/flux-schnell")
        assert model.latest_version is not None
        assert "seed" in str(model.latest_version.openapi_schema)


# The list.


def test_the_list_shows_everything_newest_first_a_hundred_a_page(customer: Customer) -> None:
    ids = [customer.create(f"cat {number}", seed=number)["id"] for number in range(250)]

    pages, url = [], "/v1/predictions"
    while url:
        pages.append(customer.http.get(url).json())
        url = pages[-1]["next"]
        customer.create("a newcomer, on no page but the first")

    listed = [item for page in pages for item in page["results"]]
    assert [item["id"] for item in listed] == ids[::-1]
    assert [len(page["results"]) for page in pages] == [100, 100, 50]
    assert listed[0]["input"] == {"prompt": "cat 249", "seed": 249}
    assert listed[0]["source"] == "api"
    assert customer.http.get(pages[2]["previous"]).json()["results"] == pages[1]["results"]


def test_the_list_can_be_narrowed_to_a_span_of_time(customer: Customer) -> None:
    first, second, third = (customer.create() for _ in range(3))

    def listed(**span: str) -> list[str]:
        answer = customer.http.get("/v1/predictions", params=span).json()
        return [item["id"] for item in answer["results"]]

    assert listed(created_after=second["created_at"]) == [third["id"], second["id"]]
    assert listed(created_before=second["created_at"]) == [first["id"]]


@pytest.mark.parametrize("query", ["created_after=yesterday", "cursor=nonsense"])
def test_a_list_that_makes_no_sense_is_refused(customer: Customer, query: str) -> None:
    assert customer.http.get(f"/v1/predictions?{query}").status_code == 400


# Refusals.


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}])
def test_without_the_right_token_the_recorded_refusal_comes_back(
    sandbox: Sandbox, headers: dict[str, str]
) -> None:
    response = httpx.post(sandbox.url + CREATE, json={}, headers=headers)

    assert response.status_code == 401
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json() == {
        "title": "Unauthenticated",
        "detail": "You did not pass a valid authentication token",
        "status": 401,
    }


def test_input_without_a_prompt_is_refused_in_replicates_words(customer: Customer) -> None:
    response = customer.http.post(CREATE, json={"input": {"num_inference_steps": 5}})

    assert response.status_code == 422
    assert response.json() == {
        "title": "Input validation failed",
        "detail": "- input: prompt is required\n"
        "- input.num_inference_steps: Must be less than or equal to 4\n",
        "status": 422,
        "invalid_fields": [
            {"type": "required", "field": "input", "description": "prompt is required"},
            {
                "type": "number_lte",
                "field": "input.num_inference_steps",
                "description": "Must be less than or equal to 4",
            },
        ],
    }


@pytest.mark.parametrize(
    "inputs",
    [{"seed": "7"}, {"seed": True}, {"num_outputs": 0}, {"output_format": "gif"}],
)
def test_input_against_the_schema_is_refused(customer: Customer, inputs: dict[str, Any]) -> None:
    assert customer.post(**inputs).status_code == 422


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"input": {"prompt": "x"}, "model": "y"}, "Additional property model is not allowed"),
        ({}, "input is required"),
        ({"input": []}, "Invalid type"),
    ],
)
def test_a_wrong_body_is_refused(customer: Customer, body: Any, words: str) -> None:
    response = customer.http.post(CREATE, json=body)

    assert response.status_code == 422
    assert words in response.json()["detail"]


@pytest.mark.parametrize("content", ["{", "[]", "null", ""])
def test_a_body_that_is_no_json_object_is_refused(customer: Customer, content: str) -> None:
    assert customer.http.post(CREATE, content=content).status_code == 400


def test_what_is_not_there_is_not_found(customer: Customer) -> None:
    for path in ("/v1/predictions/nosuchprediction", "/v2", "/files/nosuch/out-0.png"):
        response = customer.http.get(path)
        assert (response.status_code, response.json()) == (404, NO_SUCH_THING)


def test_a_wrong_method_is_not_allowed(customer: Customer) -> None:
    response = customer.http.put("/v1/predictions")

    assert response.status_code == 405
    assert response.json() == {"detail": 'Method "PUT" not allowed.', "status": 405}


def test_only_the_models_that_there_are_can_be_used() -> None:
    with Sandbox(models={"a/b"}) as sandbox, Customer(sandbox.url).http as http:
        body = {"input": {"prompt": "a cat"}}

        assert http.post("/v1/models/a/b/predictions", json=body).status_code == 201
        refused = http.post("/v1/models/a/c/predictions", json=body)
        assert (refused.status_code, refused.json()) == (404, NO_SUCH_THING)
        assert http.post("/v1/predictions", json={**body, "version": "a/c"}).status_code == 422
        assert http.get("/v1/models/a/b").status_code == 200
        assert http.get("/v1/models/a/c").status_code == 404


def test_the_rate_limit_lets_the_burst_pass_and_then_says_when_to_come_back() -> None:
    with Sandbox(creates_per_minute=6, burst=2) as sandbox:
        customer = Customer(sandbox.url)
        with customer.http:
            answers = [customer.post() for _ in range(3)]

    assert [answer.status_code for answer in answers] == [201, 201, 429]
    assert answers[2].json() == {
        "detail": "Request was throttled. Your rate limit for creating predictions is reduced to "
        "6 requests per minute with a burst of 2 requests while you have less than $5.0 in "
        "credit. Your rate limit resets in ~10s.",
        "status": 429,
        "retry_after": 10,
    }
    assert len(sandbox.predictions) == 2


# The account, models and pictures.


def test_account_and_model_can_be_looked_up(customer: Customer) -> None:
    account = customer.http.get("/v1/account").json()
    model = customer.http.get("/v1/models/black-forest-labs/flux-schnell").json()

    assert account["username"] == "sandbox"
    assert (model["owner"], model["name"]) == ("black-forest-labs", "flux-schnell")
    schema = model["latest_version"]["openapi_schema"]["components"]["schemas"]["Input"]
    assert schema["properties"]["seed"]["type"] == "integer"


def test_a_picture_is_a_png_and_needs_no_token(sandbox: Sandbox, customer: Customer) -> None:
    url = customer.gets_from("a cat")["output"][0]

    with Customer(sandbox.url, token="wrong").http as stranger:
        picture = stranger.get(url)

    assert picture.headers["content-type"] == "image/png"
    assert picture.content.startswith(b"\x89PNG\r\n\x1a\n")
    start = picture.content.index(b"IDAT")
    (length,) = struct.unpack(">I", picture.content[start - 4 : start])
    pixels = zlib.decompress(picture.content[start + 4 : start + 4 + length])
    assert len(pixels) == 256 * (1 + 3 * 256)


def test_the_same_prompt_and_seed_give_the_same_picture_and_others_another(
    customer: Customer,
) -> None:
    def picture(prompt: str, seed: int) -> bytes:
        done = customer.waits_for(customer.create(prompt, seed=seed), "succeeded")
        return customer.http.get(done["output"][0]).content

    assert picture("a cat", 1) == picture("a cat", 1)
    assert len({picture("a cat", 1), picture("a cat", 2), picture("a dog", 1)}) == 3


def test_a_picture_is_not_there_before_its_prediction_is_done(
    sandbox: Sandbox, customer: Customer
) -> None:
    sandbox.faults.add(Fault.never_finishes())
    prediction = customer.create()

    assert customer.http.get(f"/files/{prediction['id']}/out-0.png").status_code == 404


# Faults of the answer.


def test_an_answer_of_500_may_hide_a_prediction_or_not(
    sandbox: Sandbox, customer: Customer
) -> None:
    sandbox.faults.add(Fault.answers(500, prompt="bought", creates=True))
    sandbox.faults.add(Fault.answers(500, prompt="refused"))

    bought, refused = customer.post("bought"), customer.post("refused")

    assert bought.status_code == refused.status_code == 500
    assert bought.json() == {"detail": "Internal server error", "status": 500}
    assert [each.prompt for each in sandbox.predictions] == ["bought"]
    assert [entry.prompt for entry in sandbox.ledger.created()] == ["bought"]


def test_a_fault_hits_as_often_as_it_should(sandbox: Sandbox, customer: Customer) -> None:
    sandbox.faults.add(Fault.answers(502, times=2))

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: customer.post().status_code, range(8)))

    assert sorted(statuses) == [201] * 6 + [502] * 2


def test_a_fault_hits_only_its_operation_and_prompt(sandbox: Sandbox, customer: Customer) -> None:
    sandbox.faults.add(Fault.answers(503, operation="get", prompt="cat"))
    cat, dog = customer.create("a cat"), customer.create("a dog")

    assert customer.http.get(cat["urls"]["get"]).status_code == 503
    assert customer.http.get(dog["urls"]["get"]).status_code == 200
    assert customer.http.get("/v1/predictions").status_code == 200


def test_a_removed_fault_is_over(sandbox: Sandbox, customer: Customer) -> None:
    unwell, away = Fault.answers(503, operation=None), Fault.resets(operation="list")
    sandbox.faults.add(unwell, away)
    assert customer.http.get("/v1/account").status_code == 503

    sandbox.faults.remove(unwell)
    assert customer.http.get("/v1/account").status_code == 200

    sandbox.faults.clear()
    assert customer.http.get("/v1/predictions").status_code == 200


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 422, 429, 500, 502, 504, 524])
def test_every_status_can_be_had_and_makes_nothing(
    sandbox: Sandbox, customer: Customer, status: int
) -> None:
    sandbox.faults.add(Fault.answers(status))

    assert customer.post().status_code == status
    assert not sandbox.predictions


def test_an_answer_can_be_made_up(sandbox: Sandbox, customer: Customer) -> None:
    sandbox.faults.add(Fault.answers(418, {"detail": "no tea"}, headers={"retry-after": "7"}))

    response = customer.post()

    assert (response.status_code, response.json()) == (418, {"detail": "no tea"})
    assert response.headers["retry-after"] == "7"


def test_a_throttled_request_says_when_to_come_back(sandbox: Sandbox, customer: Customer) -> None:
    sandbox.faults.add(Fault.throttles(retry_after=30))

    response = customer.post()

    assert (response.status_code, response.json()["retry_after"]) == (429, 30)
    assert response.json()["detail"].endswith("Your rate limit resets in ~30s.")


@pytest.mark.parametrize(("creates", "made"), [(False, 0), (True, 1)])
def test_a_reset_connection_may_have_made_a_prediction(
    sandbox: Sandbox, customer: Customer, creates: bool, made: int
) -> None:
    sandbox.faults.add(Fault.resets(creates=creates, times=1))

    with pytest.raises(httpx.ReadError, match="reset"):
        customer.post()

    assert len(sandbox.predictions) == made
    assert sandbox.ledger[0].status is None
    assert customer.post().status_code == 201


def test_a_late_answer_comes_late(sandbox: Sandbox, customer: Customer) -> None:
    sandbox.faults.add(Fault.late(0.2))
    began = time.monotonic()

    assert customer.post().status_code == 201
    assert time.monotonic() - began >= 0.2


def test_a_late_answer_is_lost_without_a_word_when_nobody_waits_for_it(
    sandbox: Sandbox, capfd: pytest.CaptureFixture[str]
) -> None:
    sandbox.faults.add(Fault.late(0.4, times=1))
    hasty = Customer(sandbox.url, timeout=0.1)

    with hasty.http, pytest.raises(httpx.ReadTimeout):
        hasty.post()
    time.sleep(0.5)

    assert len(sandbox.predictions) == 1
    assert sandbox.ledger[0].prediction_id == sandbox.predictions[0].id
    assert sandbox.ledger[0].status is None
    assert capfd.readouterr() == ("", "")


def test_a_page_of_html_can_come_with_status_200(sandbox: Sandbox, customer: Customer) -> None:
    sandbox.faults.add(Fault.answers_html())

    response = customer.post()

    assert response.status_code == 200
    assert response.text.startswith("<!DOCTYPE html>")
    assert len(sandbox.predictions) == 1


def test_a_body_can_be_cut_short(sandbox: Sandbox, customer: Customer) -> None:
    sandbox.faults.add(Fault.cuts_short())

    with pytest.raises(httpx.RemoteProtocolError, match="complete message body"):
        customer.post()

    assert len(sandbox.predictions) == 1
    assert sandbox.ledger[0].status is None


def test_a_dripping_answer_outlasts_a_read_timeout(sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault.drips(0.6))
    customer = Customer(sandbox.url, timeout=0.3)
    began = time.monotonic()

    with customer.http:
        assert customer.create()["status"] == "starting"
    assert time.monotonic() - began >= 0.6


@pytest.mark.parametrize(("creates", "made"), [(False, 0), (True, 1)])
def test_a_black_hole_never_answers(sandbox: Sandbox, creates: bool, made: int) -> None:
    sandbox.faults.add(Fault.black_hole(creates=creates))
    customer = Customer(sandbox.url, timeout=0.2)

    with customer.http, pytest.raises(httpx.ReadTimeout):
        customer.post()

    assert len(sandbox.predictions) == made


def test_a_black_hole_can_end(sandbox: Sandbox, customer: Customer) -> None:
    sandbox.faults.add(Fault.black_hole(0.1))

    with pytest.raises(httpx.RemoteProtocolError, match="disconnected"):
        customer.post()


# Faults of the prediction.


def test_a_censored_prompt_fails_in_flux_schnells_words(
    sandbox: Sandbox, customer: Customer
) -> None:
    sandbox.faults.add(Fault.censors("nude"))

    censored = customer.gets_from("a nude cat", "failed")

    assert censored["output"] is None
    assert censored["error"] == (
        "All generated images contained NSFW content. Try running it again with a different prompt."
    )
    assert customer.gets_from("a cat")["error"] is None


def test_a_prompt_can_fail_twice_and_then_succeed(sandbox: Sandbox, customer: Customer) -> None:
    sandbox.faults.add(Fault.fails("kitten", error="CUDA out of memory.", times=2))

    for _ in range(2):
        assert customer.gets_from("a kitten", "failed")["error"] == "CUDA out of memory."
    assert customer.gets_from("a kitten")["output"]


@pytest.mark.parametrize("status", ["canceled", "aborted", "failed", "queued"])
def test_a_prediction_can_end_in_any_way(sandbox: Sandbox, customer: Customer, status: str) -> None:
    sandbox.faults.add(Fault.ends(status))

    ended = customer.gets_from("a cat", status)

    assert ended["output"] is None
    assert ("completed_at" in ended) == (status != "queued")


@pytest.mark.parametrize("output", [None, "", [], "https://x.test/a.png", {"url": "u"}, [None]])
def test_a_prediction_can_have_any_output(
    sandbox: Sandbox, customer: Customer, output: object
) -> None:
    sandbox.faults.add(Fault.outputs(output))

    assert customer.gets_from("a cat")["output"] == output


def test_an_output_can_be_one_string_that_is_the_pictures_url(
    sandbox: Sandbox, customer: Customer
) -> None:
    sandbox.faults.add(Fault.outputs("{url}"))

    assert customer.http.get(customer.gets_from("a cat")["output"]).status_code == 200


def test_a_prediction_can_take_its_own_time(sandbox: Sandbox, customer: Customer) -> None:
    sandbox.faults.add(Fault.takes(60.0, "slow"), Fault.never_finishes("endless"))
    slow, endless = customer.create("slow"), customer.create("endless")
    customer.gets_from("a cat")

    customer.waits_for(slow, "processing")
    customer.waits_for(endless, "processing")


def test_a_new_prediction_can_be_unknown_for_a_while(sandbox: Sandbox, customer: Customer) -> None:
    sandbox.faults.add(Fault.hides(0.3))
    prediction = customer.create()

    assert customer.http.get(prediction["urls"]["get"]).status_code == 404
    assert customer.http.get("/v1/predictions").json()["results"] == []
    eventually(lambda: customer.http.get(prediction["urls"]["get"]).status_code == 200)
    assert len(customer.http.get("/v1/predictions").json()["results"]) == 1


def test_a_fault_that_says_nothing_or_two_things_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="either"):
        Fault(prompt="a cat")
    with pytest.raises(ValueError, match="either"):
        Fault(reply=Reply(status=500), fate=Fate())
    with pytest.raises(ValueError, match="status"):
        Fault(reply=Reply())
    with pytest.raises(ValueError, match="No operation"):
        Fault.from_json({"operation": "creat", "reply": {"status": 500}})
    with pytest.raises(ValueError, match="at least once"):
        Fault.censors(times=0)


# What the judge reads.


def test_the_ledger_holds_every_request_in_order(sandbox: Sandbox, customer: Customer) -> None:
    sandbox.faults.add(Fault.never_finishes())
    prediction = customer.create("a cat", seed=7)
    customer.look_at(prediction)
    customer.http.get("/v1/predictions?created_after=2026-01-01T00:00:00Z")
    customer.http.post(prediction["urls"]["cancel"])
    customer.http.put("/v1/account")

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
    sandbox: Sandbox, customer: Customer
) -> None:
    sandbox.faults.add(Fault.censors("nude"), Fault.takes(0.5, "slow"))
    customer.create("slow", seed=1)
    customer.create("slow", seed=2)
    customer.gets_from("nude", "failed")
    customer.gets_from("a cat")
    eventually(lambda: len(sandbox.predictions.paid()) == 3)

    assert sandbox.predictions.paid_by_prompt() == {"slow": 2, "a cat": 1}
    assert sandbox.predictions.paid_by_prompt_and_seed()["slow", 2] == 1
    assert sandbox.predictions.most_at_once() == 3
    assert len(sandbox.ledger.creates()) == 4


# As a process, and as a provider that goes away.


def test_a_stopped_sandbox_refuses_and_a_started_one_remembers(
    sandbox: Sandbox, customer: Customer
) -> None:
    prediction = customer.create()
    sandbox.stop()
    with pytest.raises(httpx.TransportError):
        customer.look_at(prediction)
    with pytest.raises(httpx.ConnectError):
        customer.look_at(prediction)

    sandbox.start()

    customer.waits_for(prediction, "succeeded")
    assert len(sandbox.ledger.creates()) == 1


def test_a_stop_breaks_off_what_hangs_at_once(sandbox: Sandbox, customer: Customer) -> None:
    sandbox.faults.add(Fault.black_hole())
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(customer.post)
        eventually(lambda: len(sandbox.ledger) == 1)
        began = time.monotonic()
        sandbox.stop()

        assert time.monotonic() - began < 1.0
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
        customer = Customer(sandbox.url)
        with customer.http:
            for turn in range(10):
                customer.create(f"cat {number} {turn}")

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(buys, range(20)))

    assert len({each.prompt for each in sandbox.predictions}) == 200


@pytest.mark.parametrize("stop_signal", [signal.SIGTERM, signal.SIGINT])
def test_a_sandbox_in_its_own_process_is_read_and_spoiled_from_outside(
    stop_signal: signal.Signals,
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "imagegen.sandbox", "--latency", "30"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        customer = Customer(url)
        with customer.http, SandboxClient(url) as sandbox:
            sandbox.set_latency(0.0)
            sandbox.faults.add(Fault.answers(500, creates=True, times=1), Fault.censors("nude"))
            sandbox.faults.add(Fault.outputs(None, "empty"), Fault.never_finishes("endless"))

            assert customer.post("first").status_code == 500
            assert customer.gets_from("empty")["output"] is None
            customer.gets_from("endless", "processing")
            customer.gets_from("nude", "failed")
            sandbox.faults.clear()
            customer.gets_from("nude")

            assert sandbox.predictions.paid_by_prompt() == {"first": 1, "empty": 1, "nude": 1}
            assert [entry.status for entry in sandbox.ledger.creates()] == [500, *[201] * 4]
            nonsense = customer.http.post("/sandbox/faults", json={"prompt": "x", "hits": 1})
            assert nonsense.status_code == 400
        process.send_signal(stop_signal)
        assert process.wait(PATIENCE_SECONDS) == 0
    finally:
        process.kill()
        out, errors = process.communicate()
    assert (out, errors) == ("", "")
