"""A token's own page: what it tells, and that strangers' text on it stays text."""

from http import HTTPStatus

import psycopg
import pytest

from imagegen.operator.acts import Act
from imagegen.operator.token_commands import Command
from imagegen.web.token_page import TokenPage
from tests.support.page_values import Read, generation, token, token_page, token_view
from tests.unit.web.test_app import PASSWORD, AwayDatabase, get, page
from tests.unit.web.test_page_strangers import HOSTILE

S3 = "s3://bucket/images/42-7.png"
LONG_AGO = "2020-01-01T00:00:00+00:00"
FAILED = generation(
    id=6, state="failed", error_kind="transient", error_message="E6716", image_url=None, cost="0"
)


def test_the_story_of_a_token_is_told_with_its_costs_and_its_image() -> None:
    made = generation(cost="0.003", image_path="/kept/42-7.png", worker="host:1:worker-0.1")
    read = token_page(token_view(FAILED, made, shown=token()))

    assert "Token 42: uploading" in read.text
    assert "Cost 0.003 USD for 2 predictions" in read.text
    assert "generation 7, attempt 1, succeeded" in read.text
    assert (
        "generation 6, attempt 1, failed: transient Replicate failed, time and again" in read.text
    )
    assert "Prediction abc" in read.text
    assert "Worker host:1:worker-0.1" in read.text
    assert [image["src"] for image in read.all("img")] == [made.image_url]
    assert "/tokens?author=0xAb" in [link["href"] for link in read.all("a")]


def test_the_commands_are_there_as_they_are_typed_and_what_operators_did() -> None:
    act = Act("2026-11-30T12:00:00Z", "ada@host", "hold", 42, "moderation", None, None)
    command = Command("imagegen tokens release 42", "lets it go on")
    read = token_page(
        token_view(
            shown=token(status="detected", generate_after="infinity", image_url=None),
            acts=[act],
            commands=[command],
            why_no_retry="token 42 is held: release it first",
        )
    )

    assert "Token 42: detected, held" in read.text
    assert "imagegen tokens release 42 lets it go on" in read.text
    assert "No retry: token 42 is held: release it first." in read.text
    assert "2026-11-30 12:00:00 UTC, ada@host hold token 42: moderation" in read.text
    assert "Nothing has been sent for this token." in read.text


def test_a_token_that_was_deleted_is_told_by_what_was_sent_for_it() -> None:
    read = token_page(token_view(FAILED))

    assert "Token 42: not in tokens_s0 any more" in read.text
    assert "Nothing: the token is not in tokens_s0 any more." in read.text


@pytest.mark.parametrize(
    ("shown", "url", "note"),
    [
        (token_view(generation(closed_at=LONG_AGO)), None, "This image is gone"),
        (token_view(generation(closed_at=LONG_AGO, image_path="/k/a.png"), copies=True),
         "/images/7", None),
        (token_view(generation(closed_at=LONG_AGO, image_path=S3), copies=True), None,
         f"A copy is kept in S3, as {S3}"),
        (token_view(generation(closed_at=LONG_AGO, image_path=S3), base="https://i.example/"),
         "https://i.example/42-7.png", None),
        (token_view(generation(closed_at="infinity")), None, "This image is gone"),
    ],
)  # fmt: skip
def test_an_image_is_shown_from_where_it_still_is_or_it_is_said_where(
    shown: TokenPage, url: str | None, note: str | None
) -> None:
    read = token_page(shown)

    assert [image["src"] for image in read.all("img")] == ([url] if url else [])
    assert (note or "") in read.text


@pytest.mark.parametrize("hostile", HOSTILE)
def test_strangers_text_on_a_tokens_page_stays_text(hostile: str) -> None:
    def about(stranger: str) -> Read:
        seen = generation(
            prompt=stranger, error_message=stranger, error_kind=stranger, worker=stranger,
            state="failed", image_url=stranger, handed_on_url=stranger, model=stranger,
        )  # fmt: skip
        of_token = token(
            author=stranger, author_prompt=stranger, status=stranger, generation_error=stranger,
            image_url=stranger,
        )  # fmt: skip
        act = Act(LONG_AGO, stranger, stranger, 42, stranger, None, {stranger: stranger})
        commands = [Command("imagegen", stranger)]
        return token_page(token_view(seen, shown=of_token, acts=[act], commands=commands))

    seen, harmless = about(hostile), about("~stranger~")

    assert seen.shape == harmless.shape
    assert seen.text.count(hostile) == harmless.text.count("~stranger~") >= 15
    assert not seen.all("script")


@pytest.mark.parametrize("name", ["", "x", "-1", "42/", "4 2", "42.png", "9" * 30, "%2e", "\u0661"])
def test_a_token_that_cannot_be_is_not_even_looked_for(name: str) -> None:
    answer = get(page(AwayDatabase(AssertionError)), f"/tokens/{name}")

    assert answer.status == HTTPStatus.NOT_FOUND
    assert "There is no such token" in answer.body.decode()


@pytest.mark.parametrize("target", ["/tokens/42", "/tokens", "/tokens?author=0xA"])
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (psycopg.OperationalError(f"no {PASSWORD} here\nmore"), "no [hidden] here."),
        (TimeoutError("no answer within 2 s"), "no answer within 2 s."),
        (psycopg.errors.QueryCanceled("statement timeout"), "took longer than 1.5 s."),
    ],
)
def test_without_an_answer_of_the_database_the_page_says_why(
    target: str, error: Exception, told: str
) -> None:
    answer = get(page(AwayDatabase(lambda: error)), target)

    assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE
    assert told in Read(answer.body.decode()).text
    assert PASSWORD not in answer.body.decode()
