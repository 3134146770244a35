"""Outputs of models, through the whole program: read, kept, or paid for in vain."""

import base64
from collections import Counter
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx
import pytest

from imagegen.sandbox.placeholder_png import placeholder_png
from tests.support.judge import judge
from tests.support.processes import Program, Site, wait_for
from tests.support.sandbox import Fault, Sandbox

BLACKENED = (
    "Potential NSFW content was detected in one or more images. A black image will be returned"
    " instead. Try again with a different prompt and/or seed.\n"
)
# Two workers of ten slots: what is in flight when each sees its second output, and what has taken
# the slots of these two.
MOST_PAID = 24
IMAGE = placeholder_png("a cat", 42)


def a_data_uri() -> str:
    return f"data:image/png;base64,{base64.b64encode(IMAGE).decode()}"


def wait_until_all_stands_still(site: Site, program: Program) -> None:
    """Both gates are closed, and each image that was paid for is waited for."""

    def stands_still() -> bool:
        closed = [line for line in program.events("gate.closed") if line["reason"] == "unreadable"]
        held = {line["token_id"] for line in program.events("prediction.unreadable")}
        return len(closed) == 2 and len(held) == site.statuses()["generating"]

    wait_for("both gates to close", stands_still)


def test_images_are_found_in_whatever_shape_a_model_puts_them(site: Site, sandbox: Sandbox) -> None:
    shapes: list[object] = [{"image": "{url}"}, [["{url}"]], {"output": {"url": "{url}"}}]
    for number, shape in enumerate(shapes):
        sandbox.faults.add(Fault.outputs(shape, f"shape {number}"))
    site.mint(*[f"shape {number % len(shapes)}, picture {number}" for number in range(20)])
    with site.supervisor():
        assert site.wait_until_done() == {"uploading": 20}

    judge(site, sandbox)


def test_outputs_that_cannot_be_read_hold_up_all_tokens_until_one_can_be_read(
    site: Site, sandbox: Sandbox
) -> None:
    site.settings["IMAGEGEN_TEST_HOUR_SECONDS"] = "120"
    sandbox.faults.add(Fault.outputs({"json": "{url}.json"}))
    site.mint(*[f"picture {number}" for number in range(100)])
    with site.supervisor() as program:
        wait_until_all_stands_still(site, program)
        status, why = program.readiness()
        paid = len(sandbox.ledger.created())
        assert site.statuses() == {"generating": paid, "detected": 100 - paid}
        assert (status, "is closed: unreadable" in why) == (503, True)
        assert paid <= MOST_PAID

        sandbox.faults.clear()
        paid = len(sandbox.ledger.created())
        assert site.wait_until_done() == {"failed": paid, "uploading": 100 - paid}

    assert len(sandbox.ledger.created()) == 100


def test_a_model_that_gives_nothing_is_not_paid_three_times_for_one_token(
    site: Site, sandbox: Sandbox
) -> None:
    site.settings["IMAGEGEN_TEST_HOUR_SECONDS"] = "120"
    sandbox.faults.add(Fault.outputs([]))
    site.mint(*[f"picture {number}" for number in range(100)])
    with site.supervisor() as program:
        wait_until_all_stands_still(site, program)
        created = Counter(entry.prompt for entry in sandbox.ledger.created())

    assert created.total() <= MOST_PAID
    assert max(created.values()) == 1


def test_a_lone_token_whose_output_is_empty_is_tried_once_more(
    site: Site, sandbox: Sandbox
) -> None:
    site.settings["IMAGEGEN_TEST_HOUR_SECONDS"] = "60"
    sandbox.faults.add(Fault.outputs([None], "a cat"))
    site.mint("a cat")
    with site.supervisor(procs=1):
        assert site.wait_until_done() == {"failed": 1}

    assert site.token() == ("failed", 2, "the prediction succeeded without an image")
    assert len(sandbox.ledger.created()) == 2


@pytest.mark.parametrize(
    ("output", "logs"),
    [([None], "NSFW content was detected\n"), ([], BLACKENED), (["{url}"], BLACKENED)],
)
def test_an_image_that_was_held_back_is_replaced_by_one_of_the_fallback_prompt(
    site: Site, sandbox: Sandbox, output: object, logs: str
) -> None:
    sandbox.faults.add(Fault.outputs(output, "a scandal", logs=logs))
    site.mint("a scandal", "a cat")
    with site.supervisor(procs=1) as program:
        assert site.wait_until_done() == {"uploading": 2}
        [censored] = program.events("token.censored")

    assert (censored["token_id"], censored["kind"]) == (1, "held_back")
    assert len(sandbox.ledger.created()) == 3


def test_an_image_within_the_output_is_handed_on_as_the_file_that_is_kept(
    site: Site, sandbox: Sandbox, tmp_path: Path
) -> None:
    folder = tmp_path / "kept images"
    folder.mkdir()
    site.settings["IMAGEGEN_KEEP_IMAGES"] = str(folder)
    sandbox.faults.add(Fault.outputs([a_data_uri()]))
    site.mint("a cat", "a dog")
    with site.supervisor() as program:
        assert site.wait_until_done() == {"uploading": 2}
        home = program.metrics_url().replace("/metrics", "")
        shown = [httpx.get(f"{home}/images/{number}", trust_env=False) for number in (1, 2)]
        page = httpx.get(f"{home}/", trust_env=False)

    urls = [row[0] for row in site.query("SELECT image_url FROM tokens_s0")]
    files = [Path(unquote(urlsplit(url).path)) for url in urls]
    assert all(url.startswith("file:///") for url in urls)
    assert {file.parent for file in files} == {folder}
    assert {file.read_bytes() for file in files} == {IMAGE}
    assert {image.content for image in shown} == {IMAGE}
    assert "/images/1" in page.text
    assert "base64" not in page.text + site.log_text() + site.run("tokens", "show", "1").stdout
    judge(site, sandbox)


def test_without_a_folder_an_image_within_the_output_is_paid_for_in_vain_and_reported(
    site: Site, sandbox: Sandbox
) -> None:
    site.settings["IMAGEGEN_TEST_HOUR_SECONDS"] = "60"
    sandbox.faults.add(Fault.outputs([a_data_uri()]))
    site.mint("a cat")
    with site.supervisor(procs=1):
        assert site.wait_until_done() == {"failed": 1}

    status, attempts, error = site.token()
    assert (status, attempts) == ("failed", 1)
    assert "set IMAGEGEN_KEEP_IMAGES" in error
    assert "base64" not in site.log_text()
