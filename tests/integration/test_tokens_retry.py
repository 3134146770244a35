"""`imagegen tokens retry` gives new attempts to tokens that have no image."""

import json
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from imagegen import database
from imagegen.cli import progress
from imagegen.operator import retry as retries
from tests.support.generation_rows import insert_failed_generation, insert_generation, insert_tokens
from tests.support.processes import Site
from tests.support.sandbox import Sandbox
from tests.support.terminal import on_a_terminal

GLISK_SCHEMA = Path(__file__).parent / "data" / "glisk-schema.sql"


def retry(site: Site, *arguments: str, code: int = 0) -> tuple[str, list[str]]:
    """What the command says when nobody can be asked: the result, and the lines about it."""
    done = site.call("tokens", "retry", *arguments)
    assert done.returncode == code, done.stderr
    return done.stdout.rstrip(), done.stderr.splitlines()


def waiting(site: Site) -> list[int]:
    """The tokens that have all their attempts before them."""
    rows = site.query(
        """SELECT token_id FROM tokens_s0
           WHERE lower(status::text) = 'detected' AND generation_attempts = 0
               AND generation_error IS NULL AND generate_after IS NULL AND image_url IS NULL
           ORDER BY token_id"""
    )
    return [token_id for (token_id,) in rows]


def test_a_failed_token_gets_its_image_with_new_attempts(site: Site, sandbox: Sandbox) -> None:
    insert_tokens(site, "failed", 1, 2, generate_after="infinity")

    assert retry(site, "2") == ("1 token gets new attempts", [])

    with site.supervisor(procs=1) as program:
        site.wait_until_done()
        program.stop()
    assert site.statuses() == {"failed": 1, "uploading": 1}
    assert len(sandbox.ledger.creates()) == 1


def test_tokens_that_need_no_attempts_are_left_alone_and_named(site: Site) -> None:
    insert_tokens(site, "failed", 1)
    insert_tokens(site, "detected", 2, generation_attempts=1)
    insert_tokens(site, "generating", 3)
    before = site.query("SELECT * FROM tokens_s0 WHERE token_id > 1 ORDER BY 1")

    result, lines = retry(site, "1", "2", "3")

    assert result == "1 token gets new attempts"
    assert lines == [
        "imagegen: token 2 is detected and left alone: its image is on its way",
        "imagegen: token 3 is generating and left alone: its image is on its way",
    ]
    assert waiting(site) == [1]
    assert site.query("SELECT * FROM tokens_s0 WHERE token_id > 1 ORDER BY 1") == before


def test_tokens_that_cannot_be_tried_again_are_named_and_the_others_retried(site: Site) -> None:
    insert_tokens(site, "failed", 1)
    insert_tokens(site, "uploading", 2)
    insert_tokens(site, "ready", 3)

    result, lines = retry(site, "1", "2", "3", "99", code=1)

    assert result == "1 token gets new attempts"
    assert lines == [
        "imagegen: there is no token 99",
        "imagegen: token 2 is uploading, its image is paid for: --lost pays for another one",
        "imagegen: token 3 is ready: the next stage has taken it",
    ]
    assert waiting(site) == [1]
    assert site.statuses() == {"detected": 1, "uploading": 1, "ready": 1}


def test_a_lost_image_is_paid_for_again_only_with_lost_and_yes(site: Site) -> None:
    insert_tokens(site, "uploading", 1)

    result, lines = retry(site, "1", "--lost", code=1)
    assert result == ""
    assert lines[0].endswith(
        "image that was paid for, or perhaps was: another one will be paid for"
    )
    assert lines[1].endswith("there is no terminal to ask on; nothing was changed")
    assert site.statuses() == {"uploading": 1}

    assert retry(site, "1", "--lost", "--yes") == ("1 token gets new attempts", lines[:1])
    assert waiting(site) == [1]


def test_lost_does_not_touch_tokens_that_have_left_imagegen(site: Site) -> None:
    insert_tokens(site, "revealed", 1)

    retry(site, "1", "--lost", "--yes", code=1)

    assert site.statuses() == {"revealed": 1}


def test_all_that_failed_lately_are_tried_again(site: Site) -> None:
    insert_tokens(site, "failed", 1, 2, 3, hours_ago=100)
    insert_tokens(site, "failed", 4, hours_ago=1)
    insert_tokens(site, "uploading", 5, hours_ago=1)
    for token_id, hours in {1: 2, 2: 50, 5: 2}.items():
        ((at,),) = site.query("SELECT now() - make_interval(hours => %s)", hours)
        insert_failed_generation(site, token_id, "transient", at=at)

    result, _ = retry(site, "--failed-since", "24h", "--yes")

    assert result == "2 tokens get new attempts"
    assert waiting(site) == [1, 4]


def test_all_that_failed_lately_of_one_kind_are_tried_again(site: Site) -> None:
    insert_tokens(site, "failed", 1, 2, 3)
    insert_failed_generation(site, 1, "content_policy")
    insert_failed_generation(site, 2, "transient")
    insert_failed_generation(site, 3, "transient")
    insert_failed_generation(site, 3, "content_policy")

    retry(site, "--failed-since", "1h", "--error-kind", "transient", "--yes")

    assert waiting(site) == [2]


def test_without_a_terminal_to_ask_on_nothing_is_done_without_yes(site: Site) -> None:
    insert_tokens(site, "failed", 1, 2)

    assert retry(site, "--failed-since", "24h", code=1) == (
        "",
        [
            "imagegen: 2 tokens get new attempts only with --yes, because there is no terminal to"
            " ask on; nothing was changed"
        ],
    )
    assert site.statuses() == {"failed": 2}


def test_on_a_terminal_the_operator_is_asked_with_the_count(site: Site) -> None:
    insert_tokens(site, "failed", 1, 2)

    code, screen = on_a_terminal(site, "tokens", "retry", "--failed-since", "24h", typed="n\n")
    assert (code, site.statuses()) == (1, {"failed": 2})
    assert "2 tokens get new attempts. Go on? [y/N]" in screen

    code, _ = on_a_terminal(site, "tokens", "retry", "--failed-since", "24h", typed="y\n")
    assert (code, waiting(site)) == (0, [1, 2])


def test_the_question_does_not_go_into_the_file_with_the_output(site: Site, tmp_path: Path) -> None:
    insert_tokens(site, "failed", 1)
    file = tmp_path / "out.json"

    with file.open("w") as output:
        _, screen = on_a_terminal(
            site, "tokens", "retry", "--failed-since", "1h", "--json", typed="y\n", output=output
        )

    assert "1 token gets new attempts. Go on? [y/N]" in screen
    assert file.read_text().startswith("{")
    assert json.loads(file.read_text())["retried"] == 1


def test_a_failed_token_that_was_perhaps_paid_for_is_reported(site: Site) -> None:
    insert_tokens(site, "failed", 1)
    insert_failed_generation(site, 1, "gone")

    _, lines = retry(site, "1", "--yes")

    assert lines == [
        "imagegen: 1 of these had an image that was paid for, or perhaps was: another one will be"
        " paid for"
    ]


def test_a_token_that_changes_after_it_was_read_is_not_retried(site: Site) -> None:
    insert_tokens(site, "failed", 1, 2)
    insert_tokens(site, "uploading", 3, 4)
    with database.connect(site.database_url) as connection:
        tables = database.read_tables(connection)
        plan = retries.plan_named(connection, tables, [1, 2, 3, 4], lost=True)
        site.query(
            """UPDATE tokens_s0 SET status = 'uploading', image_url = 'https://new/'
               WHERE token_id = 1"""
        )
        site.query("UPDATE tokens_s0 SET status = 'ready' WHERE token_id = 3")
        site.query("UPDATE tokens_s0 SET image_url = 'https://new/' WHERE token_id = 4")

        changed = list(retries.retry(connection, tables, plan))

    assert (changed, waiting(site)) == ([("retry", 1)], [2])
    assert site.statuses() == {"uploading": 2, "detected": 1, "ready": 1}


def test_the_result_of_a_retry_is_printed_as_json(site: Site) -> None:
    insert_tokens(site, "failed", 1)
    insert_tokens(site, "detected", 2)

    done = site.call("tokens", "retry", "1", "2", "99", "--json")

    assert done.returncode == 1
    assert json.loads(done.stdout) == {
        "handed_on": 0,
        "retried": 1,
        "changed_meanwhile": 0,
        "left_alone": ["token 2 is detected and left alone: its image is on its way"],
        "refused": ["there is no token 99"],
    }


def test_thousands_of_tokens_get_new_attempts_with_a_bar_where_it_takes_long(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    insert_tokens(site, "failed", 1)
    site.query(
        """INSERT INTO tokens_s0 (token_id, author_id, status)
           SELECT n, author_id, status FROM tokens_s0, generate_series(2, 2501) n"""
    )
    monkeypatch.setattr(progress, "LONG_SECONDS", 0.0)
    with database.connect(site.database_url) as connection:
        tables = database.read_tables(connection)
        plan = retries.plan_failed(connection, tables, datetime.min.replace(tzinfo=UTC), None)
        steps = retries.retry(connection, tables, plan)

        done = list(progress.with_bar(steps, len(plan.chosen), lambda step: step[1]))
    assert done == [("retry", 1000), ("retry", 1000), ("retry", 501)]
    assert site.statuses() == {"detected": 2501}
    assert "Tokens" in capsys.readouterr().err


def test_an_open_generation_in_the_way_goes_on_and_nothing_is_paid_twice(
    site: Site, sandbox: Sandbox
) -> None:
    insert_tokens(site, "failed", 1)
    insert_generation(
        site, 1, state="open", prediction_id=None, requested_at=None, worker="another"
    )
    before = site.query("SELECT * FROM generations")

    retry(site, "1")
    assert site.query("SELECT * FROM generations") == before

    with site.supervisor(procs=1) as program:
        site.wait_until_done()
        program.stop()
    assert site.query("SELECT count(*), max(state) FROM generations") == [(1, "succeeded")]
    assert len(sandbox.ledger.creates()) == 1


def test_tokens_of_the_users_own_tables_are_listed_and_retried(empty_site: Site) -> None:
    site = empty_site
    site.query(GLISK_SCHEMA.read_text())
    site.upgrade()
    site.query(
        """WITH author AS (
               INSERT INTO authors (id, wallet_address, prompt_text, created_at)
               VALUES (gen_random_uuid(), '0x1', 'a prompt', now()) RETURNING id)
           INSERT INTO tokens_s0 (id, token_id, author_id, status, created_at)
           SELECT gen_random_uuid(), n, id, 'FAILED', now() - make_interval(hours => n)
           FROM author, generate_series(1, 3) n"""
    )

    newer = site.call("tokens", "list", "--json", "--status", "failed", "--newer", "150m")
    assert [token["token_id"] for token in json.loads(newer.stdout)] == [1, 2]
    assert "status      failed" in site.call("tokens", "show", "1").stdout
    assert retry(site, "--failed-since", "150m", "--yes")[0] == "2 tokens get new attempts"
    assert waiting(site) == [1, 2]


def test_a_question_that_takes_too_long_is_given_up(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert_tokens(site, "failed", 1)
    monkeypatch.setattr(retries, "STEP_SECONDS", 1)
    with (
        psycopg.connect(site.database_url) as other,
        database.connect(site.database_url) as connection,
    ):
        tables = database.read_tables(connection)
        plan = retries.plan_named(connection, tables, [1], lost=False)
        other.execute("SELECT FROM tokens_s0 WHERE token_id = 1 FOR UPDATE")

        with pytest.raises(psycopg.errors.QueryCanceled):
            list(retries.retry(connection, tables, plan))
