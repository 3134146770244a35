"""The sandbox behaves like Replicate's API, over real HTTP."""

import re
import struct
import zlib

import pytest
from replicate.client import Client as OfficialClient

from tests.support.processes import wait_for
from tests.support.sandbox import DEFAULT_TOKEN, Fault, PredictionScript, Sandbox
from tests.support.sandbox_user import SandboxUser

# Making a prediction and watching it.


def test_a_new_prediction_looks_like_the_recorded_ones(sandbox: Sandbox, user: SandboxUser) -> None:
    response = user.post("a cat", seed=7)

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
    sandbox: Sandbox, user: SandboxUser
) -> None:
    sandbox.faults.add(
        Fault(script=PredictionScript(starts_after_seconds=0.15, latency_seconds=0.4))
    )
    prediction = user.create()

    assert user.look_at(prediction)["status"] == "starting"
    user.waits_for(prediction, "processing")
    done = user.waits_for(prediction, "succeeded")
    assert done["output"] == [f"{sandbox.url}/files/{prediction['id']}/out-0.png"]
    assert done["metrics"] == {"predict_time": 0.25, "total_time": 0.4}
    assert done["created_at"] < done["started_at"] < done["completed_at"]


def test_several_outputs_have_an_url_each(user: SandboxUser) -> None:
    done = user.waits_for(user.create(num_outputs=3), "succeeded")

    assert len({user.http.get(url).content for url in done["output"]}) == 3


def test_latency_can_be_changed_while_it_runs(sandbox: Sandbox, user: SandboxUser) -> None:
    sandbox.latency_seconds = 60.0
    slow = user.create()
    sandbox.latency_seconds = 0.0

    assert user.look_at(user.create())["status"] == "succeeded"
    user.waits_for(slow, "processing")


@pytest.mark.parametrize(
    ("version", "model", "kept"),
    [
        ("owner/name", "owner/name", "hidden"),
        (f"owner/name:{'a' * 64}", "owner/name", "a" * 64),
        ("b" * 64, "sandbox/some-model", "b" * 64),
    ],
)
def test_a_version_is_a_name_or_a_name_and_version_or_a_version(
    user: SandboxUser, version: str, model: str, kept: str
) -> None:
    body = {"version": version, "input": {"prompt": "a cat"}}
    created = user.http.post("/v1/predictions", json=body).json()

    assert (created["model"], created["version"]) == (model, kept)


def test_a_version_that_is_none_of_these_is_refused(user: SandboxUser) -> None:
    body = {"version": "owner/name:latest", "input": {"prompt": "a cat"}}
    response = user.http.post("/v1/predictions", json=body)

    assert response.status_code == 422
    assert response.json()["title"] == "Invalid version or not permitted"


def test_a_canceled_prediction_is_canceled_and_a_finished_one_stays_as_it_is(
    sandbox: Sandbox, user: SandboxUser
) -> None:
    sandbox.faults.add(Fault.never_finishes("endless"))
    endless, finished = user.create("endless"), user.gets_from("a cat")

    canceled = user.http.post(endless["urls"]["cancel"])
    assert (canceled.status_code, canceled.json()["status"]) == (200, "canceled")
    assert user.look_at(endless)["completed_at"]
    assert user.http.post(finished["urls"]["cancel"]).json()["status"] == "succeeded"


@pytest.mark.parametrize(
    ("fault", "end"), [(Fault.never_finishes(), "canceled"), (Fault.never_starts(), "aborted")]
)
def test_cancel_after_ends_what_runs_and_what_never_started(
    sandbox: Sandbox, user: SandboxUser, fault: Fault, end: str
) -> None:
    sandbox.faults.add(fault)
    prediction = user.create(headers={"Cancel-After": "1s"})

    assert user.waits_for(prediction, end)["metrics"]["total_time"] == 1.0


@pytest.mark.parametrize("text", ["300", "30s", "5m", "2h", "1m30s"])
def test_cancel_after_takes_all_of_replicates_spellings(user: SandboxUser, text: str) -> None:
    assert user.post(headers={"Cancel-After": text}).status_code == 201


@pytest.mark.parametrize("text", ["", "soon", "5 minutes", "-1"])
def test_cancel_after_that_is_no_duration_is_refused(user: SandboxUser, text: str) -> None:
    assert user.post(headers={"Cancel-After": text}).status_code == 422


def test_inputs_and_outputs_are_removed_after_the_retention() -> None:
    with Sandbox(latency_seconds=0.0, retention_seconds=1.0) as sandbox:
        user = SandboxUser(sandbox.url)
        with user.http:
            prediction = user.create()
            url = user.look_at(prediction)["output"][0]
            wait_for("the removal", lambda: user.look_at(prediction)["data_removed"])

            seen = user.look_at(prediction)
            assert (seen["status"], seen["input"], seen["output"]) == ("succeeded", {}, None)
            assert user.http.get(url).status_code == 404


def test_the_official_sdk_takes_it_for_replicate(sandbox: Sandbox, user: SandboxUser) -> None:
    prediction = user.gets_from("a cat")
    sdk = OfficialClient(DEFAULT_TOKEN, base_url=sandbox.url)
    with sdk._client:
        assert sdk.predictions.get(prediction["id"]).output == prediction["output"]
        assert [each.id for each in sdk.predictions.list()] == [prediction["id"]]
        model = sdk.models.get("black-forest-labs/flux-schnell")
        assert model.latest_version is not None
        assert "seed" in str(model.latest_version.openapi_schema)


# The list.


def test_the_list_shows_everything_newest_first_a_hundred_a_page(user: SandboxUser) -> None:
    ids = [user.create(f"cat {number}", seed=number)["id"] for number in range(250)]

    pages, url = [], "/v1/predictions"
    while url:
        pages.append(user.http.get(url).json())
        url = pages[-1]["next"]
        user.create("a newcomer, on no page but the first")

    listed = [item for page in pages for item in page["results"]]
    assert [item["id"] for item in listed] == ids[::-1]
    assert [len(page["results"]) for page in pages] == [100, 100, 50]
    assert listed[0]["input"] == {"prompt": "cat 249", "seed": 249}
    assert listed[0]["source"] == "api"
    assert user.http.get(pages[2]["previous"]).json()["results"] == pages[1]["results"]


def test_the_list_can_be_narrowed_to_a_span_of_time(user: SandboxUser) -> None:
    first, second, third = (user.create() for _ in range(3))

    def listed(**span: str) -> list[str]:
        answer = user.http.get("/v1/predictions", params=span).json()
        return [item["id"] for item in answer["results"]]

    assert listed(created_after=second["created_at"]) == [third["id"], second["id"]]
    assert listed(created_before=second["created_at"]) == [first["id"]]


@pytest.mark.parametrize("query", ["created_after=yesterday", "cursor=nonsense"])
def test_a_list_that_makes_no_sense_is_refused(user: SandboxUser, query: str) -> None:
    assert user.http.get(f"/v1/predictions?{query}").status_code == 400


# The account, models and pictures.


def test_account_and_model_can_be_looked_up(user: SandboxUser) -> None:
    account = user.http.get("/v1/account").json()
    model = user.http.get("/v1/models/black-forest-labs/flux-schnell").json()

    assert account["username"] == "sandbox"
    assert (model["owner"], model["name"]) == ("black-forest-labs", "flux-schnell")
    schema = model["latest_version"]["openapi_schema"]["components"]["schemas"]["Input"]
    assert schema["properties"]["seed"]["type"] == "integer"


def test_a_version_can_be_looked_up_and_has_the_inputs_of_its_model(user: SandboxUser) -> None:
    model = "/v1/models/black-forest-labs/flux-schnell"
    version = user.http.get(f"{model}/versions/{'f' * 64}").json()

    assert version["id"] == "f" * 64
    latest = user.http.get(model).json()["latest_version"]
    assert version["openapi_schema"] == latest["openapi_schema"]
    assert user.http.get(f"{model}/versions/latest").status_code == 404


def test_a_picture_is_a_png_and_needs_no_token(sandbox: Sandbox, user: SandboxUser) -> None:
    url = user.gets_from("a cat")["output"][0]

    with SandboxUser(sandbox.url, token="wrong").http as stranger:
        picture = stranger.get(url)

    assert picture.headers["content-type"] == "image/png"
    assert picture.content.startswith(b"\x89PNG\r\n\x1a\n")
    start = picture.content.index(b"IDAT")
    (length,) = struct.unpack(">I", picture.content[start - 4 : start])
    pixels = zlib.decompress(picture.content[start + 4 : start + 4 + length])
    assert len(pixels) == 256 * (1 + 3 * 256)


def test_the_same_prompt_and_seed_give_the_same_picture_and_others_another(
    user: SandboxUser,
) -> None:
    def picture(prompt: str, seed: int) -> bytes:
        done = user.waits_for(user.create(prompt, seed=seed), "succeeded")
        return user.http.get(done["output"][0]).content

    assert picture("a cat", 1) == picture("a cat", 1)
    assert len({picture("a cat", 1), picture("a cat", 2), picture("a dog", 1)}) == 3


def test_a_picture_is_not_there_before_its_prediction_is_done(
    sandbox: Sandbox, user: SandboxUser
) -> None:
    sandbox.faults.add(Fault.never_finishes())
    prediction = user.create()

    assert user.http.get(f"/files/{prediction['id']}/out-0.png").status_code == 404
