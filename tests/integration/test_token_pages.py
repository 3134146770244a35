"""Tokens' own pages and the search for them, on a real database."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import psycopg
import pytest
from prometheus_client import CollectorRegistry

from imagegen.database import AnswerLimit, connect_bounded, one_round
from imagegen.web import search
from imagegen.web.app import App
from imagegen.web.database_thread import DatabaseThread
from imagegen.web.responses import Response
from tests.integration.test_migrations import load_glisk
from tests.support import odd_rows
from tests.support.generation_rows import insert_failed_generation, insert_generation, insert_tokens
from tests.support.odd_rows import ODD_ROWS
from tests.support.page_values import Read
from tests.support.processes import Site
from tests.support.settings import settings
from tests.unit.web.test_app import get

NAME = "imagegen:exporter.1"
MANY = """
    WITH author AS (
        INSERT INTO authors (wallet_address, prompt_text) VALUES ('0xAbCd', 'a lighthouse'),
            ('0x2', 'a ship') RETURNING id, wallet_address)
    INSERT INTO tokens_s0 (token_id, author_id, status, image_url, generation_error, created_at)
    SELECT n, author.id, CASE WHEN mod(n, 2) = 0 THEN 'failed' ELSE 'uploading' END,
        CASE WHEN mod(n, 2) = 1 THEN 'https://example.com/' END, 'it failed',
        now() - mod(n, 7) * interval '1 day'
    FROM author, generate_series(1, 120) n
    WHERE (wallet_address = '0xAbCd') = (n <= 10);
    INSERT INTO generations (token_id, attempt, model, seed, state, error_kind, lease_until,
        closed_at)
    SELECT n, 1, 'm', n, CASE WHEN n <= 60 THEN 'failed' ELSE 'refused' END,
        CASE WHEN n <= 60 THEN 'gone' ELSE 'no_credit' END, now(), now()
    FROM generate_series(2, 110, 2) n"""


@pytest.fixture
def app(site: Site) -> Iterator[App]:
    with page_of(site) as app:
        yield app


@contextmanager
def page_of(site: Site) -> Iterator[App]:
    database = DatabaseThread(site.database_url, NAME)
    asked = settings(database_url=site.database_url)
    try:
        yield App(asked, NAME, CollectorRegistry(), database, lambda: 0.0)
    finally:
        database.ask(lambda connection, _: connection.close(), timeout_seconds=10)


def found(app: App, query: str) -> list[int]:
    """The numbers of the tokens on all pages of a search, in their order."""
    numbers: list[int] = []
    target = f"/tokens?{query}"
    while target:
        read = Read(ok(get(app, target)))
        targets = [link["href"] or "" for link in read.all("a") if link.get("rel") == "next"]
        of_page = [str(link["href"]) for link in read.all("a")]
        tokens = [int(each.rpartition("/")[2]) for each in of_page if each.startswith("/tokens/")]
        assert len(tokens) <= 50
        numbers += tokens
        target = next(iter(targets), "")
    return numbers


def ok(answer: Response) -> str:
    assert answer.status == HTTPStatus.OK, answer.body
    return answer.body.decode()


def test_a_search_finds_each_token_once_over_its_pages(site: Site, app: App) -> None:
    assert "No token fits." in ok(get(app, "/tokens"))
    site.query(MANY)
    failed, kept = {*range(2, 121, 2)}, {*range(1, 121, 2)}

    assert found(app, "") == [*range(120, 0, -1)]
    of_failed = found(app, "status=FAILED")
    assert (len(of_failed), {*of_failed}) == (60, failed)
    assert found(app, "status=uploading") == sorted(kept, reverse=True)
    assert found(app, "status=generating") == found(app, "status=ready") == []
    assert found(app, "author=0xabcd") == found(app, "author=0xAbCd") == [*range(10, 0, -1)]
    assert {*found(app, "author=0xABCD&status=failed")} == {2, 4, 6, 8, 10}
    assert {*found(app, "failure=gone")} == {*range(2, 61, 2)}
    assert {*found(app, "failure=given_up&status=failed")} == {*range(62, 111, 2)}
    assert {*found(app, "failure=unrecorded")} == {*range(112, 121, 2)}
    assert found(app, "token=6&status=failed") == [6]
    assert found(app, "token=7&failure=gone") == []
    assert "No author has this wallet" in ok(get(app, "/tokens?author=0xNobody"))
    page = Read(ok(get(app, "/"))).text
    assert (
        "30 accepted, and unknown to Replicate since 25 refused for too long"
        " 5 no reason was recorded" in page
    )


def test_a_search_that_looks_at_few_tokens_goes_on_where_it_stopped(
    site: Site, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "LOOKED_AT", 10)
    monkeypatch.setattr(search, "LOOKED_AT_BY_MINT", 10)
    site.query(MANY)

    first = Read(ok(get(app, "/tokens?author=0xabcd")))
    assert "No token fits. Only 10 tokens were looked at" in first.text
    assert found(app, "author=0xabcd") == [*range(10, 0, -1)]
    assert {*found(app, "failure=gone")} == {*range(2, 61, 2)}


def test_odd_input_is_one_line_and_what_looks_like_sql_is_a_value(app: App) -> None:
    odd = (
        "status=nonsense", "author=%00", "token=9223372036854775808", "failure=nonsense",
        f"author={'x' * 101}", "before=-1",
    )  # fmt: skip
    values = ("author=%27%3B--", "author=%25", "author=\\", "before=0", f"before={2**63 - 1}")

    assert [get(app, f"/tokens?{query}").status for query in odd] == [HTTPStatus.BAD_REQUEST] * 6
    for query in values:
        assert "No " in ok(get(app, f"/tokens?{query}"))


def test_a_round_that_takes_too_long_ends_and_the_next_one_works(site: Site) -> None:
    with connect_bounded(site.database_url, NAME, AnswerLimit()) as connection:
        with pytest.raises(psycopg.errors.QueryCanceled), one_round(connection, 50):
            connection.execute("SELECT 1")
            connection.execute("SELECT pg_sleep(5)")
        with one_round(connection, 1000):
            answer = connection.execute("SELECT %s::bigint", [2**40])
            within = connection.execute("SHOW enable_seqscan")
        after = connection.execute("SHOW enable_seqscan")

        assert answer.fetchall() == [(2**40,)]
        assert (within.fetchall(), after.fetchall()) == ([("off",)], [("on",)])


def test_a_tokens_page_proposes_what_the_commands_would_do(site: Site, app: App) -> None:
    insert_tokens(site, "failed", 1, 2)
    insert_failed_generation(site, 1, "no_output")
    insert_generation(site, 2, cost="0.003")
    insert_tokens(site, "detected", 3)
    assert site.run("tokens", "hold", "3", "--reason", "moderation").returncode == 0
    insert_generation(site, 4)

    failed, made, held, deleted = (Read(ok(get(app, f"/tokens/{n}"))).text for n in (1, 2, 3, 4))

    assert "imagegen tokens retry 1 gives it 3 new attempts; asks first" in failed
    assert "succeeded without an image" in failed
    assert "imagegen tokens retry 2 hands its image on again for nothing" in made
    assert "imagegen tokens release 3 lets it go on" in held
    assert "hold token 3: moderation" in held
    assert "not in tokens_s0 any more" in deleted
    assert get(app, "/tokens/5").status == HTTPStatus.NOT_FOUND
    assert get(app, "/tokens/9223372036854775807").status == HTTPStatus.NOT_FOUND


def test_odd_tokens_have_pages_and_are_found(site: Site, app: App) -> None:
    odd_rows.loosen(site)
    odd_rows.insert(site, *ODD_ROWS)

    for query in ("", "status=detected", "status=failed", "status=uploading", "failure=gone"):
        ok(get(app, f"/tokens?{query}"))
    for number in found(app, ""):
        assert f"Token {number}" in Read(ok(get(app, f"/tokens/{number}"))).text


def test_numbers_of_tokens_may_be_of_any_kind(site: Site, app: App) -> None:
    insert_tokens(site, "failed", 1, 2, 3, 4)
    site.query("ALTER TABLE tokens_s0 ALTER token_id TYPE numeric, ALTER created_at DROP NOT NULL")
    site.query("UPDATE tokens_s0 SET token_id = 9223372036854775807 WHERE token_id = 1")
    site.query("UPDATE tokens_s0 SET token_id = 'NaN' WHERE token_id = 2")
    site.query("UPDATE tokens_s0 SET token_id = 1e30, created_at = NULL WHERE token_id = 3")

    assert found(app, "") == [2**63 - 1, 4]
    assert {*found(app, "status=failed")} == {2**63 - 1, 4}
    assert ok(get(app, "/tokens?status=failed")).count("no token_id") == 2
    assert "Token 9223372036854775807: failed" in Read(ok(get(app, f"/tokens/{2**63 - 1}"))).text


def test_the_pages_work_on_the_users_own_tables(empty_site: Site) -> None:
    load_glisk(empty_site)
    empty_site.upgrade()
    with page_of(empty_site) as app:
        assert len(found(app, "status=detected")) == 50
        assert get(app, "/tokens?status=nonsense").status == HTTPStatus.BAD_REQUEST
        assert "Token 20: detected" in Read(ok(get(app, "/tokens/20"))).text
