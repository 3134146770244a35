"""The list of found tokens, the form, and the kinds of failures that lead to it."""

import re
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path

import psycopg
import pytest

from imagegen.failures import Kind, Reason
from imagegen.web import problems
from imagegen.web.problems import DatabaseProblem
from imagegen.web.search import LOOKED_AT, LOOKED_AT_BY_MINT, Found
from imagegen.web.search_input import Search
from imagegen.web.snapshot import FAILURES_GROUPED, FailureKind
from imagegen.web.status_page import kind_words
from tests.support.page_values import (
    Read,
    failure,
    found_page,
    found_token,
    page,
    snapshot,
    view,
    whole_page,
    worker,
)
from tests.unit.web.test_app import AwayDatabase, get
from tests.unit.web.test_app import page as page_of
from tests.unit.web.test_page_strangers import HOSTILE

RUNBOOK = Path(__file__).parents[3] / "deploy/RUNBOOK.md"


def links(read: Read) -> list[str | None]:
    return [link["href"] for link in read.all("a")]


def test_found_tokens_lead_to_their_pages_with_why_they_failed() -> None:
    read = found_page(Found(Search(status="failed"), [found_token(), found_token(token_id=None)]))

    assert "/tokens/42" in links(read)
    assert "no token_id" in read.text
    assert "Replicate failed, time and again Director: unexpected error (E6716)" in read.text
    assert "3 attempts, by 0xAb" in read.text


def test_the_form_is_filled_in_with_what_was_searched_for() -> None:
    search = Search(author='0x"<', status="failed", failure="gone")
    read = found_page(Found(search))

    assert [(each["name"], each["value"]) for each in read.all("input")] == [
        ("token", ""), ("author", '0x"<'),
    ]  # fmt: skip
    chosen = [each["value"] for each in read.all("option") if "selected" in each]
    assert chosen == ["failed", "gone"]
    assert [form["method"] for form in read.all("form")] == ["get"]
    assert "No token fits." in read.text


def test_the_next_page_begins_after_the_last_token_and_keeps_what_was_searched_for() -> None:
    first = found_page(Found(Search(author="0xA"), [found_token()], before=42))
    second = found_page(Found(Search(author="0xA", before=42), [found_token(token_id=7)]))

    assert "/tokens?author=0xA&before=42" in links(first)
    assert "/tokens?author=0xA" in links(second)
    assert "Older" not in second.text


def test_what_was_looked_at_is_said_where_it_is_not_all() -> None:
    assert LOOKED_AT_BY_MINT < LOOKED_AT
    search = Search(author="0xA", before=900)
    read = found_page(Found(search, [], 400, looked_at=LOOKED_AT, knows_author=False))

    assert "Only 50,000 tokens were looked at, the newest first, older than token 900." in read.text
    assert "No author has this wallet" in read.text
    assert "/tokens?author=0xA&before=400" in links(read)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_strangers_text_in_a_list_stays_text(hostile: str) -> None:
    def about(stranger: str) -> Read:
        known = dict.fromkeys(("author", "status", "prompt", "message", "kind"), stranger)
        return found_page(Found(Search(author=stranger, status=stranger), [found_token(**known)]))

    seen, harmless = about(hostile), about("~stranger~")

    assert seen.shape == harmless.shape
    assert seen.text.count(hostile) == harmless.text.count("~stranger~") >= 4


@pytest.mark.parametrize("query", ["token=x", "author=%00", "failure=x", "a=b", "status=a%0D%0Ab"])
def test_odd_input_is_answered_with_the_form_and_the_database_is_not_asked(query: str) -> None:
    answer = get(page_of(AwayDatabase(AssertionError)), f"/tokens?{query}")

    assert answer.status == HTTPStatus.BAD_REQUEST
    assert Read(answer.body.decode()).all("form")


def test_a_character_that_the_database_lacks_is_no_failure_of_the_page() -> None:
    lacks = AwayDatabase(lambda: psycopg.errors.UntranslatableCharacter("é"))

    assert get(page_of(lacks), "/tokens?author=%C3%A9").status == HTTPStatus.BAD_REQUEST


def test_a_single_token_is_shown_on_its_own_page() -> None:
    answer = get(page_of(AwayDatabase(AssertionError)), "/tokens?token=42&author=&status=")

    assert (answer.status, answer.headers["Location"]) == (HTTPStatus.SEE_OTHER, "/tokens/42")


def test_failed_tokens_are_counted_by_kind_and_each_kind_leads_to_its_tokens() -> None:
    kinds = [FailureKind("given_up", 7), FailureKind(None, 2), FailureKind("of_later", 1)]
    read = page(snapshot(failed=FAILURES_GROUPED + 1, failures=[failure()], failure_kinds=kinds))

    assert "7 refused for too long 2 no reason was recorded 1 of_later" in read.text
    assert "Of the newest 1,000 mints that failed." in read.text
    found = [link for link in links(read) if str(link).startswith("/tokens?")]
    assert found[:2] == [
        "/tokens?status=failed&failure=given_up", "/tokens?status=failed&failure=unrecorded",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", [*Kind])
def test_every_kind_has_words_in_the_form(kind: Kind) -> None:
    assert "_" not in kind_words(kind)


def test_a_warning_names_its_section_of_the_runbook_beside_it() -> None:
    closed = worker("worker-0", closed_by=("unreadable",))
    read = Read(whole_page(view(workers=[closed])))

    assert "what the model makes cannot be read. Runbook: ImagegenUnreadable" in read.text
    assert "Runbook: deploy/RUNBOOK.md" in read.text


def test_every_problem_names_a_section_of_the_runbook() -> None:
    headings = set(re.findall(r"^### (\w+)$", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE))
    closed = [worker(f"worker-{n}", closed_by=(reason,)) for n, reason in enumerate(Reason)]
    gone = worker("gone", pid=None)
    found = problems.problems(snapshot(closings_refused=1), [*closed, gone])
    found += problems.problems(problems.TOO_SLOW, [gone])
    found += problems.problems(DatabaseProblem("away", "refused"), [])

    sections = {each.section for each in found}
    late = snapshot(waiting=1, oldest_waiting_seconds=601.0, unfetched=1)
    shown = page(replace(late, oldest_unfetched_seconds=2701.0, failed=1, failures=[failure()]))
    sections |= {
        name.replace(" ", "") for name in re.findall(r"unbook: (Imagegen \w+)", shown.text)
    }
    assert {"ImagegenWaiting", "ImagegenImageExpiring"} < sections
    assert sections <= headings
    assert {"ImagegenPaused", "ImagegenRestarting", "ImagegenNoWorkers", "ImagegenDatabaseAway"} < (
        sections
    )
