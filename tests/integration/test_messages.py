"""Every known message of Replicate, through the whole program: each ends its token as its
category says.

Those about the account hold up all tokens of a worker, so they come one after the other; the others
come at once, to a program that has a token for each.
"""

import contextlib
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.judge import crashed, inconsistent, judge, unaccounted
from tests.support.pooler import PgBouncer
from tests.support.postgres import PostgresServer
from tests.support.processes import Program, Site, wait_for
from tests.support.sandbox import Fault, Sandbox

KNOWN_ERRORS = Path(__file__).parents[1] / "unit" / "replicate" / "data" / "replicate-errors.json"
REASONS = {
    "account": {"unauthorized", "no_credit", "misconfigured"},
    "throttled": {"throttled"},
}
INTERCEPTED = "intercepted"
KINDS = {"transient": {"transient", "stubborn", "overloaded"}, "unknown": {"unknown"}}
THRICE = "a message that comes three times"
SETTLE_SECONDS = 2
ALL_AT_ONCE = {"WORKER_BATCH_SIZE": "50", "IMAGEGEN_CREATE_RATE": "100000"}


@dataclass(frozen=True)
class Message:
    """What Replicate says once to the token with this prompt."""

    prompt: str
    category: str
    text: str
    fault: Fault

    def __str__(self) -> str:
        return f"{self.prompt} {self.text}"[:70]


def known_messages() -> Iterator[Message]:
    known = json.loads(KNOWN_ERRORS.read_text())
    for place, row in enumerate(known["failed_prediction"]):
        prompt = f"prediction {place:03}"
        fault = Fault.fails(prompt, error=row["error"], times=1)
        yield Message(prompt, row["category"], row["error"] or "", fault)
    for place, row in enumerate(known["create"]):
        prompt = f"create {place:03}"
        body = {name: row[name] for name in ("title", "detail") if row[name]}
        if row["category"] == "throttled":
            body["retry_after"] = 1  # its words alone would hold the token up for half a minute
        fault = Fault.answers(row["status"], body or None, prompt=prompt, times=1)
        yield Message(prompt, row["category"], (row["detail"] or row["title"]).strip(), fault)


MESSAGES = list(known_messages())


def each_of(*categories: str) -> pytest.MarkDecorator:
    """Run a test for each message of these categories."""
    chosen = [message for message in MESSAGES if message.category in categories]
    return pytest.mark.parametrize("message", chosen, ids=str)


@dataclass(frozen=True)
class Crowd:
    """Tokens that were all minted at once, and the program that works at them."""

    site: Site
    sandbox: Sandbox

    def ending(self, prompt: str) -> tuple[str, int, str | None]:
        """The status, the attempts and the error of a token, as soon as it has ended."""

        def look() -> tuple[str, int, str | None] | None:
            [(status, attempts, error)] = self.site.query(ENDING, prompt)
            return (status, attempts, error) if status in ("uploading", "failed") else None

        return wait_for(f"the end of {prompt!r}", look)

    def generations(self, prompt: str) -> list[tuple[str, str | None, bool]]:
        """The state of each generation of a token, its error's kind, and whether it was the
        fallback."""
        return self.site.query(GENERATIONS, prompt)


ENDING = """
    SELECT lower(status::text), generation_attempts, generation_error
    FROM tokens_s0 JOIN authors ON authors.id = author_id WHERE prompt_text = %s"""
GENERATIONS = """
    SELECT state, error_kind, fallback
    FROM generations JOIN tokens_s0 USING (token_id) JOIN authors ON authors.id = author_id
    WHERE prompt_text = %s ORDER BY generations.id"""
SECONDS_BETWEEN_REQUESTS = """
    SELECT extract(epoch FROM max(requested_at) - min(requested_at))
    FROM generations WHERE prompt = %s"""


@contextlib.contextmanager
def a_site(
    server: PostgresServer, pooler: PgBouncer | None, folder: Path, **settings: str
) -> Iterator[tuple[Site, Sandbox]]:
    """A migrated database of its own, and a sandbox."""
    name = f"test_{uuid.uuid4().hex}"
    url = server.create_database(name)
    with Sandbox(latency_seconds=0.2) as sandbox:
        site = Site(pooler.url(name) if pooler else url, sandbox.url, folder, settings)
        site.upgrade()
        yield site, sandbox
    server.drop_database(name)


@pytest.fixture(scope="module")
def crowd(
    postgres_server: PostgresServer,
    pooler: PgBouncer | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Crowd]:
    messages = [each for each in MESSAGES if each.category not in {*REASONS, INTERCEPTED}]
    settings = {"IMAGEGEN_TEST_SETTLE_SECONDS": str(SETTLE_SECONDS), **ALL_AT_ONCE}
    folder = tmp_path_factory.mktemp("crowd")
    with a_site(postgres_server, pooler, folder, **settings) as (site, sandbox):
        sandbox.faults.add(*(message.fault for message in messages))
        sandbox.faults.add(Fault.fails(THRICE, error="Internal error.", times=3))
        site.mint(THRICE, *(message.prompt for message in messages))
        with site.supervisor(procs=1):
            yield Crowd(site, sandbox)


@dataclass(frozen=True)
class Single(Crowd):
    """A program that has one token at a time."""

    program: Program

    def have(self, message: Message) -> tuple[str, int, str | None]:
        """How the token of this message ends."""
        [[tokens]] = self.site.query("SELECT count(*) FROM tokens_s0")
        self.sandbox.faults.add(message.fault)
        self.site.mint(message.prompt, first_token_id=tokens + 1)
        return self.ending(message.prompt)


@pytest.fixture(scope="module")
def single(
    postgres_server: PostgresServer,
    pooler: PgBouncer | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Single]:
    folder = tmp_path_factory.mktemp("single")
    with (
        a_site(postgres_server, pooler, folder) as (site, sandbox),
        site.supervisor(procs=1) as program,
    ):
        yield Single(site, sandbox, program)


@each_of("content_policy")
def test_a_prompt_refused_for_its_content_gets_an_image_of_the_fallback_prompt(
    crowd: Crowd, message: Message
) -> None:
    assert crowd.ending(message.prompt) == ("uploading", 1, None)
    assert crowd.generations(message.prompt) == [
        ("failed", "content_policy", False),
        ("succeeded", None, True),
    ]


@each_of("transient", "unknown")
def test_an_error_that_may_pass_is_tried_again_and_costs_an_attempt(
    crowd: Crowd, message: Message
) -> None:
    assert crowd.ending(message.prompt) == ("uploading", 2, None)
    [(state, kind, fallback), after] = crowd.generations(message.prompt)
    assert (state, fallback) == ("failed", False)
    assert kind in KINDS[message.category]
    assert after == ("succeeded", None, False)


def test_a_token_that_fails_three_times_has_failed(crowd: Crowd) -> None:
    assert crowd.ending(THRICE) == ("failed", 3, "Internal error.")
    assert len(crowd.sandbox.ledger.creates().about(THRICE)) == 3


@each_of("permanent")
def test_an_error_that_can_never_pass_fails_the_token_at_once_with_the_reason(
    crowd: Crowd, message: Message
) -> None:
    status, attempts, error = crowd.ending(message.prompt)

    assert status == "failed"
    assert message.text in str(error)
    assert attempts == len(crowd.sandbox.predictions.about(message.prompt))
    assert len(crowd.sandbox.ledger.creates().about(message.prompt)) == 1


@each_of("ambiguous")
def test_a_request_that_may_have_made_a_prediction_is_not_sent_again_before_the_list_says_no(
    crowd: Crowd, message: Message
) -> None:
    assert crowd.ending(message.prompt) == ("uploading", 1, None)
    assert crowd.generations(message.prompt) == [
        ("refused", "unavailable", False),
        ("succeeded", None, False),
    ]
    ledger = crowd.sandbox.ledger
    first, second = ledger.creates().about(message.prompt)
    asked = [entry.at_seconds for entry in ledger.of("list")]
    assert any(first.at_seconds < at_seconds < second.at_seconds for at_seconds in asked)
    [(seconds,)] = crowd.site.query(SECONDS_BETWEEN_REQUESTS, message.prompt)
    assert seconds > SETTLE_SECONDS


def test_no_message_breaks_a_table_or_pays_for_a_token_twice(crowd: Crowd) -> None:
    statuses = crowd.site.wait_until_done()

    # Not the whole judge: the tokens that were censored share the fallback prompt.
    site, sandbox = crowd.site, crowd.sandbox
    assert not [*unaccounted(site, sandbox), *inconsistent(site), *crashed(site)]
    assert len(sandbox.predictions.paid()) == statuses["uploading"]


@each_of("account")
def test_an_error_of_the_account_closes_the_gate_and_fails_no_token(
    single: Single, message: Message
) -> None:
    closes_the_gate_once(single, message)


@each_of("throttled")
def test_a_limit_closes_the_gate_and_fails_no_token(
    site: Site, sandbox: Sandbox, message: Message
) -> None:
    with site.supervisor(procs=1) as program:  # it creates more slowly for a minute
        closes_the_gate_once(Single(site, sandbox, program), message)


def closes_the_gate_once(single: Single, message: Message) -> None:
    before = len(single.program.events("gate.closed"))

    ending = single.have(message)
    [closed] = single.program.events("gate.closed")[before:]

    attempts = 2 if message.prompt.startswith("prediction") else 1  # one ran, and failed
    assert ending == ("uploading", attempts, None)
    assert closed["reason"] in REASONS[message.category]
    assert message.text in closed["error"]
    judge(single.site, single.sandbox)


@each_of(INTERCEPTED)
def test_a_refusal_by_a_proxy_costs_no_attempt_and_does_not_blame_the_api_token(
    single: Single, message: Message
) -> None:
    before = len(single.program.events("token.refused"))

    ending = single.have(message)
    reasons = {line["reason"] for line in single.program.events("token.refused")[before:]}

    assert ending == ("uploading", 1, None)
    assert reasons == {INTERCEPTED}
    judge(single.site, single.sandbox)


def test_every_category_has_its_test() -> None:
    others = {"content_policy", "transient", "unknown", "permanent", "ambiguous", INTERCEPTED}
    tested = {*others, *REASONS}
    assert {message.category for message in MESSAGES} == tested
