"""`imagegen tokens list` finds tokens; and the mistakes that all `imagegen tokens` refuse."""

import json

import pytest
from click import unstyle

from imagegen import database
from tests.integration.test_migrations import GLISK_SCHEMA
from tests.support.generation_rows import HOSTILE, insert_failed_generation, insert_tokens
from tests.support.processes import Site
from tests.support.terminal import on_a_terminal

WALLET = "0x00000000000000000000000000000000000000aB"


def listed(site: Site, *arguments: str) -> list[int]:
    """The tokens that the command lists, in its order."""
    done = site.call("tokens", "list", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return [token["token_id"] for token in json.loads(done.stdout)]


def test_the_newest_tokens_come_first_and_no_more_than_the_limit(site: Site) -> None:
    insert_tokens(site, "failed", 1, hours_ago=1)
    insert_tokens(site, "detected", 2, hours_ago=2)
    insert_tokens(site, "ready", 3, hours_ago=0)

    assert listed(site) == [3, 1, 2]
    assert listed(site, "--limit", "2") == [3, 1]


def test_the_limit_is_mentioned_only_where_there_are_more_tokens(site: Site) -> None:
    insert_tokens(site, "failed", 1, 2, 3)

    assert site.call("tokens", "list", "--limit", "3").stderr == ""
    assert site.call("tokens", "list", "--limit", "2").stderr == (
        "imagegen: only the newest 2 are shown: see --limit\n"
    )


def test_tokens_are_found_by_status_age_and_author(site: Site) -> None:
    insert_tokens(site, "failed", 1, hours_ago=1)
    insert_tokens(site, "failed", 2, hours_ago=50)
    insert_tokens(site, "detected", 3, hours_ago=1)
    insert_tokens(site, "uploading", 4, hours_ago=200)
    site.query("UPDATE authors SET wallet_address = %s WHERE wallet_address LIKE '%%4'", WALLET)

    assert listed(site, "--status", "failed") == [1, 2]
    assert listed(site, "--status", "failed", "--status", "DETECTED") == [3, 1, 2]
    assert listed(site, "--older", "30h") == [2, 4]
    assert listed(site, "--older", "2000-01-01") == []
    assert listed(site, "--newer", "2000-01-01") == [3, 1, 2, 4]
    assert listed(site, "--newer", "3d", "--status", "failed") == [1, 2]
    assert listed(site, "--older", "30h", "--newer", "3d") == [2]
    assert listed(site, "--author", WALLET.upper().replace("X", "x")) == [4]
    assert listed(site, "--author", "nobody") == []


def test_tokens_are_found_by_how_their_newest_generation_ended(site: Site) -> None:
    insert_tokens(site, "failed", 1, 2, 3)
    insert_failed_generation(site, 1, "transient")
    insert_failed_generation(site, 1, "content_policy")
    insert_failed_generation(site, 2, "transient")

    assert listed(site, "--error-kind", "transient") == [2]
    assert listed(site, "--error-kind", "content_policy") == [1]
    assert listed(site, "--error-kind", "throttled") == []


@pytest.mark.parametrize("status", database.STATUSES)
def test_every_status_of_imagegens_can_be_asked_for(site: Site, status: str) -> None:
    insert_tokens(site, status, 7)

    assert listed(site, "--status", status) == [7]


def test_a_status_of_the_users_own_can_be_asked_for_also_while_no_token_has_it(
    empty_site: Site,
) -> None:
    site = empty_site
    site.query(GLISK_SCHEMA.read_text())
    site.upgrade()

    assert listed(site, "--status", "revealed") == []
    done = site.call("tokens", "list", "--status", "reveald")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "imagegen: --status must be one of detected, failed, generating, ready, revealed,"
        " uploading, not 'reveald'\n"
    )


def test_tokens_are_found_by_several_statuses_of_which_one_is_the_users_own(site: Site) -> None:
    insert_tokens(site, "ready", 1)
    insert_tokens(site, "failed", 2)
    insert_tokens(site, "detected", 3)

    assert sorted(listed(site, "--status", "READY", "--status", "failed")) == [1, 2]


@pytest.mark.parametrize("mint", ["infinity", "-infinity", None])
def test_a_token_minted_at_no_known_time_has_no_age(site: Site, mint: str | None) -> None:
    insert_tokens(site, "failed", 1)
    site.query("ALTER TABLE tokens_s0 ALTER COLUMN created_at DROP NOT NULL")
    site.query("UPDATE tokens_s0 SET created_at = %s", mint)

    (token,) = json.loads(site.call("tokens", "list", "--json").stdout)
    row = site.call("tokens", "list").stdout.splitlines()[1]
    told = site.call("tokens", "show", "1").stdout

    assert (token["created_at"], token["age_seconds"]) == (mint, None)
    assert row.split()[3:5] == ["3", "-"]
    assert f"minted      {mint or '-'}\n" in told


def test_a_token_minted_ahead_of_the_databases_clock_has_no_negative_age(site: Site) -> None:
    insert_tokens(site, "failed", 1, hours_ago=-2)

    (token,) = json.loads(site.call("tokens", "list", "--json").stdout)

    assert token["age_seconds"] == 0


def test_tokens_without_a_time_do_not_hide_the_newest(site: Site) -> None:
    insert_tokens(site, "failed", 1, 2)
    site.query("ALTER TABLE tokens_s0 ALTER COLUMN created_at DROP NOT NULL")
    site.query("UPDATE tokens_s0 SET created_at = NULL WHERE token_id = 2")

    assert listed(site, "--limit", "1") == [1]


def test_a_token_whose_id_is_a_bigint_is_shown_and_gets_new_attempts(empty_site: Site) -> None:
    site = empty_site
    site.query(GLISK_SCHEMA.read_text())
    site.query("ALTER TABLE tokens_s0 ALTER COLUMN token_id TYPE bigint")
    site.upgrade()
    site.query(
        """WITH author AS (
               INSERT INTO authors (id, wallet_address, prompt_text, created_at)
               VALUES (gen_random_uuid(), '0x1', 'a prompt', now()) RETURNING id)
           INSERT INTO tokens_s0 (id, token_id, author_id, status, created_at)
           SELECT gen_random_uuid(), 9999999999, id, 'FAILED', now() FROM author"""
    )

    assert "status      failed" in site.call("tokens", "show", "9999999999").stdout
    assert site.call("tokens", "retry", "9999999999").stdout == "1 token gets new attempts\n"
    assert listed(site, "--status", "detected") == [9999999999]


def test_a_listed_token_has_every_column_in_json(site: Site) -> None:
    insert_tokens(site, "failed", 1, generation_error=HOSTILE, generate_after="infinity")

    (token,) = json.loads(site.call("tokens", "list", "--json").stdout)

    assert 0 <= token.pop("age_seconds") < 60
    assert token.pop("created_at").endswith("+00:00")
    assert token == {
        "token_id": 1, "author": f"0x{1:040x}", "author_prompt": "a prompt", "status": "failed",
        "generation_attempts": 3, "generation_error": HOSTILE, "generate_after": "infinity",
        "image_url": None, "error_kind": None,
    }  # fmt: skip


def test_a_pipe_gets_whole_lines_without_colours(site: Site) -> None:
    insert_tokens(site, "failed", 1, generation_error="it failed " * 50)

    titles, row = site.call("tokens", "list").stdout.splitlines()

    assert titles.split() == ["token", "author", "status", "attempts", "age", "error"]
    assert row.split()[:4] == ["1", f"0x{1:040x}", "failed", "3"]
    assert row.endswith(("it failed " * 50).rstrip())
    assert "\x1b" not in titles + row


def test_a_terminal_gets_a_table_that_fits_and_obeys_no_prompt(site: Site) -> None:
    insert_tokens(site, "failed", 1, hours_ago=5, generation_error=HOSTILE)

    _, screen = on_a_terminal(site, "tokens", "list", columns=60)

    row = screen.splitlines()[1]
    assert row.startswith("    1  0x0000…0001  \x1b[31mfailed\x1b[0m         3  5 h  ")
    assert row.endswith("]0;owned[31mthe…")
    assert "\x1b]" not in screen
    assert "\u202e" not in screen


def test_on_a_narrow_terminal_each_token_becomes_some_lines(site: Site) -> None:
    insert_tokens(site, "failed", 1, hours_ago=5, generation_error="it failed " * 5)

    _, screen = on_a_terminal(site, "tokens", "list", columns=40)

    assert unstyle(screen).splitlines() == [
        "token     1",
        "author    0x0000…0001",
        "status    failed",
        "attempts  3",
        "age       5 h",
        "error     it failed it failed it failed",
        "          it failed it failed",
    ]


def test_no_color_takes_the_colours_off_a_terminal(site: Site) -> None:
    insert_tokens(site, "failed", 1)
    site.settings["NO_COLOR"] = "1"

    _, screen = on_a_terminal(site, "tokens", "list")

    assert "failed" in screen
    assert "\x1b" not in screen


def test_a_dumb_terminal_gets_no_escape_sequences(site: Site) -> None:
    insert_tokens(site, "failed", 1)

    _, screen = on_a_terminal(site, "tokens", "list", term="dumb")

    assert "failed" in screen
    assert "\x1b" not in screen


def test_no_matching_tokens_are_reported_in_a_line(site: Site) -> None:
    assert site.call("tokens", "list").stdout == "no matching tokens\n"


# Bad usage.


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["retry"], "name tokens, or all that failed with --failed-since 24h; not both"),
        (["retry", "1", "--failed-since", "1h"], "name tokens, or all that failed with"),
        (["retry", "1", "--error-kind", "gone"], "--error-kind goes with --failed-since"),
        (["retry", "--failed-since", "1h", "--lost"], "--lost goes with the IDs of tokens"),
        (["retry", "--failed-since", "soon"], "--failed-since must be a duration such as 24h or"),
        (["list", "--older", "2026"], "--older must be a duration such as 24h or 30d, or a date"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(site: Site, arguments: list[str], told: str) -> None:
    done = site.call("tokens", *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"imagegen: {told}")
    assert len(done.stderr.splitlines()) == 1


def test_a_database_that_is_not_migrated_is_reported_with_the_fix(empty_site: Site) -> None:
    for command in (["list"], ["show", "1"], ["retry", "1"]):
        done = empty_site.run("tokens", *command)

        assert done.returncode == 1
        assert done.stderr == "imagegen: the database is not migrated: run `imagegen db upgrade`\n"
