"""`imagegen tokens retry` hands an image that exists on again, and pays for no other unasked."""

import json

import pytest

from imagegen import database
from imagegen.operator import retry as retries
from imagegen.replicate import facts
from tests.integration.test_migrations import GLISK_SCHEMA
from tests.integration.test_tokens_retry import retry, waiting
from tests.support.generation_rows import insert_failed_generation, insert_generation, insert_tokens
from tests.support.processes import Site
from tests.support.sandbox import Sandbox
from tests.support.terminal import on_a_terminal

URL = "https://replicate.delivery/out-0.webp"
PAYS_AGAIN = "had an image that was paid for, or perhaps was: another one will be paid for"
LOST = "is failed, its image is paid for and lost: --lost pays for another one"


def insert_image(site: Site, minutes_ago: int = 5, **columns: object) -> None:
    """A generation that made a token's image then."""
    columns = {"token_id": 1, "image_url": URL} | columns
    ((at, author),) = site.query(
        """SELECT now() - make_interval(mins => %s), author_id::text
           FROM tokens_s0 WHERE token_id = %s""", minutes_ago, columns["token_id"],
    )  # fmt: skip
    insert_generation(site, **{"author": author, "closed_at": at} | columns)


def insert_failed_by_next_stage(site: Site, token_id: int = 1, minutes_ago: int = 5) -> None:
    """A token whose image was made then, and which the next stage has failed."""
    insert_tokens(
        site, "failed", token_id, generation_attempts=1, image_url=URL,
        generation_error="IPFS upload failed: 400 Bad Request",
    )  # fmt: skip
    insert_image(site, minutes_ago, token_id=token_id)


def token(site: Site) -> tuple[object, ...]:
    return site.query("SELECT status, image_url, generation_error FROM tokens_s0")[0]


@pytest.mark.parametrize("url", [URL, None])
def test_a_token_that_the_next_stage_failed_is_handed_on_again_for_nothing(
    site: Site, sandbox: Sandbox, url: str | None
) -> None:
    insert_failed_by_next_stage(site)
    site.query("UPDATE tokens_s0 SET image_url = %s, generate_after = 'infinity'", url)

    assert retry(site, "1") == ("1 token is handed on again", [])

    with site.supervisor(procs=1) as program:
        program.stop()
    assert token(site) == ("uploading", URL, None)
    assert len(sandbox.ledger.creates()) == 0
    assert site.query("SELECT generation_attempts, generate_after FROM tokens_s0") == [(1, None)]


def test_an_image_that_is_lost_is_paid_for_again_only_with_lost_and_yes(site: Site) -> None:
    insert_failed_by_next_stage(site, minutes_ago=61)

    assert retry(site, "1", "--yes", code=1) == (
        "0 tokens get new attempts",
        [f"imagegen: token 1 {LOST}"],
    )
    assert site.statuses() == {"failed": 1}
    _, lines = retry(site, "1", "--lost", code=1)
    assert lines[0] == f"imagegen: 1 of these {PAYS_AGAIN}"
    assert lines[1].endswith("there is no terminal to ask on; nothing was changed")

    assert retry(site, "1", "--lost", "--yes") == ("1 token gets new attempts", lines[:1])
    assert waiting(site) == [1]


def test_an_image_of_no_use_is_replaced_with_lost_after_a_question(site: Site) -> None:
    insert_failed_by_next_stage(site)

    code, screen = on_a_terminal(site, "tokens", "retry", "1", "--lost", typed="n\n")
    assert (code, site.statuses()) == (1, {"failed": 1})
    assert "1 token gets new attempts. Go on? [y/N]" in screen

    assert retry(site, "1", "--lost", "--yes")[0] == "1 token gets new attempts"
    assert waiting(site) == [1]


def test_an_image_that_another_program_made_is_not_replaced_unasked(site: Site) -> None:
    insert_tokens(site, "failed", 1, image_url="https://example.com/of-an-older-worker.png")

    _, lines = retry(site, "1", code=1)

    assert lines[0] == f"imagegen: 1 of these {PAYS_AGAIN}"
    assert site.statuses() == {"failed": 1}


def test_an_image_of_another_author_is_not_the_tokens(site: Site) -> None:
    insert_failed_by_next_stage(site)
    site.query("UPDATE generations SET author = 'another'")
    site.query("UPDATE tokens_s0 SET image_url = NULL")  # minted anew

    assert retry(site, "1") == ("1 token gets new attempts", [])


def test_an_image_is_handed_on_though_later_generations_failed(site: Site) -> None:
    insert_tokens(site, "failed", 1)
    insert_image(site, image_url="https://replicate.delivery/first.webp")
    insert_image(site, image_url="https://replicate.delivery/newest.webp")
    insert_failed_generation(site, 1, "transient")

    assert retry(site, "1") == ("1 token is handed on again", [])
    assert token(site) == ("uploading", "https://replicate.delivery/newest.webp", None)


@pytest.mark.parametrize("status", ["ready", "revealed", "detected", "generating"])
def test_tokens_that_have_left_imagegen_or_wait_are_left_alone(site: Site, status: str) -> None:
    insert_failed_by_next_stage(site)
    site.query("UPDATE tokens_s0 SET status = %s", status)
    before = site.query("SELECT * FROM tokens_s0")

    retry(site, "1", code=1 if status in {"ready", "revealed"} else 0)

    assert site.query("SELECT * FROM tokens_s0") == before


def test_of_all_that_failed_both_kinds_are_counted_apart(site: Site) -> None:
    insert_failed_by_next_stage(site, 1)
    insert_failed_by_next_stage(site, 2)
    insert_tokens(site, "failed", 3)
    insert_failed_by_next_stage(site, 4, minutes_ago=61)

    said, lines = retry(site, "--failed-since", "24h", code=1)
    assert (said, lines) == (
        "",
        [
            f"imagegen: token 4 {LOST}",
            "imagegen: 2 tokens are handed on again and 1 token gets new attempts only with --yes,"
            " because there is no terminal to ask on; nothing was changed",
        ],
    )
    assert site.statuses() == {"failed": 4}

    said, _ = retry(site, "--failed-since", "24h", "--yes", code=1)
    assert said.splitlines() == ["2 tokens are handed on again", "1 token gets new attempts"]
    assert site.statuses() == {"uploading": 2, "detected": 1, "failed": 1}


def test_a_kind_of_error_finds_no_token_that_the_next_stage_failed(site: Site) -> None:
    insert_failed_by_next_stage(site, 1)
    insert_tokens(site, "failed", 2)
    insert_failed_generation(site, 2, "transient")

    retry(site, "--failed-since", "1h", "--error-kind", "transient", "--yes")

    assert site.statuses() == {"failed": 1, "detected": 1}


def test_both_counts_are_printed_as_json(site: Site) -> None:
    insert_failed_by_next_stage(site, 1)
    insert_tokens(site, "failed", 2)

    done = site.call("tokens", "retry", "1", "2", "--json")

    assert json.loads(done.stdout) == {
        "handed_on": 1,
        "retried": 1,
        "changed_meanwhile": 0,
        "left_alone": [],
        "refused": [],
    }


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE tokens_s0 SET status = 'uploading'",
        "UPDATE tokens_s0 SET image_url = 'https://new/'",
        "UPDATE tokens_s0 SET author_id = (SELECT id FROM authors WHERE wallet_address = 'b')",
        "DELETE FROM tokens_s0",
    ],
)
def test_a_token_that_changes_before_the_answer_is_not_handed_on(site: Site, change: str) -> None:
    insert_failed_by_next_stage(site)
    site.query("INSERT INTO authors (wallet_address) VALUES ('b')")
    with database.connect(site.database_url) as connection:
        tables = database.read_tables(connection)
        plan = retries.plan_named(connection, tables, [1], lost=False)
        site.query(change)
        changed = site.query("SELECT * FROM tokens_s0")

        assert list(retries.retry(connection, tables, plan)) == [("hand_on", 0)]
    assert site.query("SELECT * FROM tokens_s0") == changed


def test_the_users_own_tables_are_handed_on(empty_site: Site) -> None:
    site = empty_site
    site.query(GLISK_SCHEMA.read_text())
    site.upgrade()
    site.query(
        """WITH author AS (
               INSERT INTO authors (id, wallet_address, prompt_text, created_at)
               VALUES (gen_random_uuid(), '0x1', 'a prompt', now()) RETURNING id)
           INSERT INTO tokens_s0 (id, token_id, author_id, status, created_at, image_url)
           SELECT gen_random_uuid(), 1, id, 'FAILED', now(), %s FROM author""",
        URL,
    )
    insert_image(site)

    assert retry(site, "--failed-since", "1h", "--yes") == ("1 token is handed on again", [])
    assert token(site) == ("UPLOADING", URL, None)


def test_an_image_is_expired_when_replicate_has_deleted_it() -> None:
    assert retries.RETENTION_SECONDS == facts.RETENTION_SECONDS
