"""No answer of Replicate, however odd, costs a token its image, or an image its price twice."""

import gzip
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.judge import judge
from tests.support.processes import PATIENCE_SECONDS, Site
from tests.support.sandbox import Fault, Sandbox

MEGABYTE = 1024 * 1024
DRIP_SECONDS = 2.0
ALL_AT_ONCE = {"WORKER_BATCH_SIZE": "20", "IMAGEGEN_CREATE_RATE": "100000"}
# A list that hides what was made is read again when this is over.
SETTLE_SECONDS = "20"
AFTER_SETTLE_SECONDS = 120.0
PARTS = 4
AN_ID = "heat2o3bzn3ahtr6bjfftvbaci"


def says(body: object, **headers: str) -> Fault:
    """The request is carried out, and this is answered with status 200."""
    return Fault.answers(200, body, headers=headers, creates=True)


def says_gzip(body: str) -> Fault:
    return says(body, **{"content-encoding": "gzip"})


def hostile_answers() -> dict[str, Fault]:
    """Answers to any request. Each name is the prompt of the token that gets the answer, so none
    may be a part of another."""
    bomb = gzip.compress(b" " * 50 * MEGABYTE).decode(errors="surrogateescape")
    return {
        "a body cut short": Fault.cuts_short(),
        "a body that drips": Fault.drips(DRIP_SECONDS, "body"),
        "a head that drips": Fault.drips(DRIP_SECONDS, "head"),
        "a head of a megabyte": says("{}", x="x" * MEGABYTE),
        "a body of 50 MB": says("x" * 50 * MEGABYTE),
        "a body that unpacks to 50 MB": says_gzip(bomb),
        "a body that does not unpack": says_gzip("{}"),
        "a page": Fault.answers_html(200),
        "invalid UTF-8": says(f'{{"id": "{AN_ID}", "status": "starting", "logs": "\udcff\udcfe"}}'),
        "100,000 levels": says("[" * 100_000 + "]" * 100_000),
        "not a word": says(""),
        "null": says("null"),
        "an array": says([{"id": AN_ID, "status": "starting"}]),
    }


def redirects(elsewhere: Sandbox) -> dict[str, Fault]:
    there = {"location": f"{elsewhere.url}/v1/predictions"}
    return {
        f"a redirect with {status}": Fault.answers(status, "", headers=there, creates=True)
        for status in (301, 302, 307)
    }


NO_PREDICTION = {
    "a missing id": {"status": "starting"},
    "an id with a slash": {"id": "abc/../x", "status": "starting"},
    "an id that is a number": {"id": 42, "status": "starting"},
}


def hostile_predictions() -> dict[str, Fault]:
    """Answers in place of one prediction."""
    no_prediction = {name: says(body) for name, body in NO_PREDICTION.items()}
    return no_prediction | {"an unknown status": Fault.changes({"status": "queued"})}


def hostile_lists(elsewhere: Sandbox) -> dict[str, Fault]:
    """Answers in place of a list of predictions."""
    page_elsewhere = f"{elsewhere.url}/v1/predictions?cursor=next"
    lists = {name: says({"results": [body]}) for name, body in NO_PREDICTION.items()}
    return lists | {
        "a list that is empty": says({"results": [], "next": None}),
        "a list that goes on elsewhere": says({"results": [], "next": page_elsewhere}),
    }


@pytest.fixture
def elsewhere() -> Iterator[Sandbox]:
    """Another host, where no request may arrive, least of all with the API token."""
    with Sandbox() as other:
        yield other
        assert not other.ledger


def test_hostile_answers_to_creates_lose_and_double_nothing(
    site: Site, sandbox: Sandbox, elsewhere: Sandbox
) -> None:
    cases = hostile_answers() | redirects(elsewhere) | hostile_predictions()
    for prompt, fault in cases.items():
        sandbox.faults.add(replace(fault, prompt=prompt, operation="create", times=1))

    all_get_their_image_from_one_post(site, sandbox, *cases)


def test_hostile_answers_to_looks_at_a_prediction_are_followed_by_other_looks(
    site: Site, sandbox: Sandbox, elsewhere: Sandbox
) -> None:
    another = {"id": AN_ID, "status": "succeeded", "output": [f"{elsewhere.url}/files/a.png"]}
    cases = hostile_answers() | redirects(elsewhere) | hostile_predictions()
    cases |= {"another prediction": says(another)}
    for prompt, fault in cases.items():
        sandbox.faults.add(replace(fault, prompt=prompt, operation="get", times=2))

    all_get_their_image_from_one_post(site, sandbox, *cases)


# After each list that cannot be read the next one is read later, so only a few come to one site.
@pytest.mark.parametrize("part", range(PARTS))
def test_hostile_lists_are_no_reason_to_buy_again(
    site: Site, sandbox: Sandbox, elsewhere: Sandbox, part: int
) -> None:
    everything = hostile_answers() | redirects(elsewhere) | hostile_lists(elsewhere)
    cases = dict(list(everything.items())[part::PARTS])
    site.settings["IMAGEGEN_TEST_SETTLE_SECONDS"] = SETTLE_SECONDS
    sandbox.faults.add(Fault.answers(500, creates=True))  # so that every token needs the list
    for fault in cases.values():  # a list is about no prompt: each answer comes once, to anyone
        sandbox.faults.add(replace(fault, operation="list", times=1))

    all_get_their_image_from_one_post(site, sandbox, *cases, seconds=AFTER_SETTLE_SECONDS)


def test_a_create_that_is_answered_with_the_prediction_of_another_token_finds_its_own(
    site: Site, sandbox: Sandbox
) -> None:
    site.settings |= ALL_AT_ONCE | {"IMAGEGEN_LEASE_SECONDS": "1"}
    with site.supervisor() as program:
        site.mint("first")
        program.wait_for_event("token.generation.succeeded")
        [first] = sandbox.predictions
        sandbox.faults.add(Fault.changes({"id": first.id}, prompt="second", times=1))
        site.mint("second", first_token_id=2)
        site.wait_until_done()

    assert endings(site, sandbox) == dict.fromkeys(["first", "second"], ("uploading", 1, 1))
    assert site.query(IMAGES_OF_OTHERS) == []
    judge(site, sandbox)


# An image's URL has the id of its prediction in it.
IMAGES_OF_OTHERS = """
    SELECT token_id, image_url FROM generations WHERE strpos(image_url, prediction_id) = 0"""


def all_get_their_image_from_one_post(
    site: Site, sandbox: Sandbox, *prompts: str, seconds: float = PATIENCE_SECONDS
) -> None:
    site.settings |= ALL_AT_ONCE
    site.mint(*prompts)
    with site.supervisor():
        site.wait_until_done(seconds)

    assert endings(site, sandbox) == dict.fromkeys(prompts, ("uploading", 1, 1))
    assert site.query(IMAGES_OF_OTHERS) == []
    judge(site, sandbox)


def endings(site: Site, sandbox: Sandbox) -> dict[str, tuple[str, int, int]]:
    """For each prompt its token's status and attempts, and how many POSTs there were for it."""
    rows = site.query(
        """SELECT prompt_text, lower(status::text), generation_attempts
           FROM tokens_s0 JOIN authors ON authors.id = author_id"""
    )
    creates = sandbox.ledger.creates()
    return {
        prompt: (status, attempts, len(creates.about(prompt))) for prompt, status, attempts in rows
    }
