"""The schema goes up, down and up again, on a fresh database and on the user's own."""

import json
from importlib.resources import files
from pathlib import Path

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from imagegen.database.migrations import TABLES
from imagegen.database.revision import newest_revision
from tests.support.processes import Site
from tests.support.sandbox import Sandbox

GLISK_SCHEMA = Path(__file__).parent / "data" / "glisk-schema.sql"
# A user's schema without its rows, as text that two moments can be compared by.
SCHEMA = """
SELECT table_name, column_name, data_type, udt_name, column_default, is_nullable
FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT tablename, indexname, indexdef, '', '', '' FROM pg_indexes
WHERE schemaname = 'public'
UNION ALL SELECT event_object_table, trigger_name, action_statement, '', '', ''
FROM information_schema.triggers
ORDER BY 1, 2, 3"""


def load_glisk(site: Site) -> None:
    """The existing backend's database with 50 tokens that wait; an older worker tried 5 of them 57
    times."""
    site.query(GLISK_SCHEMA.read_text())
    site.query(
        """INSERT INTO authors (id, wallet_address, prompt_text, created_at)
           SELECT gen_random_uuid(), '0x' || n, 'glisk prompt ' || n, now() AT TIME ZONE 'UTC'
           FROM generate_series(1, 50) n"""
    )
    site.query(
        """INSERT INTO tokens_s0 (id, token_id, author_id, status, created_at, generation_attempts)
           SELECT gen_random_uuid(), n, a.id, 'DETECTED', now() AT TIME ZONE 'UTC',
               CASE WHEN n <= 5 THEN 57 ELSE 0 END
           FROM generate_series(1, 50) n JOIN authors a ON a.wallet_address = '0x' || n"""
    )


def a_generation(site: Site) -> None:
    site.query(
        """INSERT INTO generations (token_id, attempt, model, seed, lease_until)
           VALUES (1, 1, 'a/b', 1, now())"""
    )


def test_migrations_on_a_fresh_database_go_up_down_and_up_again(empty_site: Site) -> None:
    empty_site.upgrade()
    first = empty_site.query(SCHEMA)

    assert empty_site.call("db", "downgrade", "base").returncode == 0
    left = empty_site.query(SCHEMA)
    empty_site.upgrade()

    assert left == []
    assert empty_site.query(SCHEMA) == first


def test_an_upgrade_can_be_repeated(site: Site) -> None:
    again = site.call("db", "upgrade")

    assert (again.returncode, again.stdout) == (0, "the database is at revision 0013\n")


@pytest.mark.parametrize("command", ["upgrade", "current", "check", "downgrade"])
def test_every_command_prints_the_revision_as_json(site: Site, command: str) -> None:
    done = site.call("db", command, *(["base"] if command == "downgrade" else []), "--json")

    newest = newest_revision()
    left = None if command == "downgrade" else newest
    assert done.returncode == 0
    assert json.loads(done.stdout) == {"revision": left, "needed": newest}


def test_the_revision_is_reported_before_and_after_the_upgrade(empty_site: Site) -> None:
    before = empty_site.call("db", "current")
    empty_site.upgrade()
    after = empty_site.call("db", "current", "--json")

    assert (before.returncode, before.stdout) == (0, "none\n")
    assert json.loads(after.stdout) == {"revision": "0013", "needed": "0013"}


def test_the_users_own_tables_are_adopted_run_on_and_given_back(
    empty_site: Site, sandbox: Sandbox
) -> None:
    load_glisk(empty_site)
    before = empty_site.query(SCHEMA)
    authors = empty_site.query("SELECT * FROM authors ORDER BY id")

    empty_site.upgrade()
    with empty_site.supervisor() as program:
        assert empty_site.wait_until_done() == {"uploading": 50}
        program.stop()
    tokens = empty_site.query("SELECT token_id, status::text, image_url FROM tokens_s0 ORDER BY 1")
    assert empty_site.call("db", "downgrade", "base", "--yes").returncode == 0

    assert len(sandbox.ledger.creates()) == 50
    assert empty_site.query(SCHEMA) == before
    assert empty_site.query("SELECT * FROM authors ORDER BY id") == authors
    assert empty_site.query("SELECT * FROM alembic_version") == [("2184c688a263",)]
    kept = "SELECT token_id, status::text, image_url FROM tokens_s0 ORDER BY 1"
    assert empty_site.query(kept) == tokens

    empty_site.upgrade()
    assert empty_site.call("db", "check").returncode == 0


def test_a_downgrade_drops_neither_tokens_nor_record_without_yes(site: Site) -> None:
    site.mint("a cat", "a dog")
    a_generation(site)

    refused = site.call("db", "downgrade", "base")

    assert (refused.returncode, refused.stderr) == (
        1,
        "imagegen: not migrated: this drops 2 rows of tokens_s0, 2 rows of authors,"
        " 1 row (1 unfinished) of generations: add --yes to go on\n",
    )
    assert [site.query(f"SELECT count(*) FROM {table}") for table in TABLES] == [
        [(2,)], [(2,)], [(1,)], [(0,)], [(0,)], [(0,)], [(0,)],
    ]  # fmt: skip
    assert site.call("db", "check").returncode == 0


def test_authors_alone_are_not_dropped_without_yes_either(site: Site) -> None:
    site.query("INSERT INTO authors (wallet_address, prompt_text) VALUES ('ada', 'a cat')")

    refused = site.call("db", "downgrade", "base")

    assert "this drops 1 row of authors: add --yes" in refused.stderr
    assert site.query("SELECT count(*) FROM authors") == [(1,)]


def test_a_downgrade_with_yes_drops_tokens_and_record(site: Site) -> None:
    site.mint("a cat")
    a_generation(site)

    assert site.call("db", "downgrade", "base", "--yes").returncode == 0

    assert site.query(SCHEMA) == []


def test_a_downgrade_wants_to_know_how_far(site: Site) -> None:
    refused = site.call("db", "downgrade", "--yes")

    assert (refused.returncode, refused.stderr) == (
        2,
        "imagegen: REVISION is missing: name the one to go down to, such as 0012; base drops all"
        " that imagegen made\n",
    )
    assert site.call("db", "current").stdout == "0013\n"


def test_a_downgrade_under_live_workers_is_refused_and_names_them(site: Site) -> None:
    a_generation(site)
    site.query("UPDATE generations SET worker = 'w', lease_until = now() + interval '1 minute'")

    refused = site.call("db", "downgrade", "base", "--yes")
    site.query("UPDATE generations SET lease_until = now()")
    allowed = site.call("db", "downgrade", "base", "--yes")

    assert (refused.returncode, refused.stderr) == (
        1,
        "imagegen: not migrated: workers are at work on tokens: w: stop them first\n",
    )
    assert (allowed.returncode, allowed.stderr) == (0, "")


def test_a_step_down_drops_the_acts_of_operators_only_with_yes(site: Site) -> None:
    assert site.call("pause", "--reason", "why").returncode == 0

    refused = site.call("db", "downgrade", "0009")

    assert "this drops 1 row of imagegen_acts: add --yes" in refused.stderr


def test_a_downgrade_keeps_tables_that_were_there_before_without_a_question(
    empty_site: Site,
) -> None:
    load_glisk(empty_site)
    empty_site.upgrade()

    assert empty_site.call("db", "downgrade", "base").returncode == 0

    assert empty_site.query("SELECT count(*) FROM tokens_s0") == [(50,)]
    assert empty_site.query("SELECT count(*) FROM authors") == [(50,)]


def test_a_downgrade_does_not_drop_the_images_of_an_adopted_table_without_yes(
    empty_site: Site,
) -> None:
    load_glisk(empty_site)
    empty_site.query("ALTER TABLE tokens_s0 DROP COLUMN IF EXISTS image_url")
    empty_site.upgrade()
    empty_site.query("UPDATE tokens_s0 SET image_url = 'https://x' WHERE token_id <= 3")

    refused = empty_site.call("db", "downgrade", "base")

    assert "this drops image_url in 3 rows of tokens_s0: add --yes" in refused.stderr
    assert empty_site.query("SELECT count(image_url) FROM tokens_s0") == [(3,)]


def test_a_step_down_that_loses_nothing_needs_no_yes(empty_site: Site) -> None:
    site = empty_site
    assert site.call("db", "upgrade", "0005").returncode == 0
    a_generation(site)

    down = site.call("db", "downgrade", "0002")

    assert (down.returncode, down.stdout) == (0, "the database is at revision 0002\n")
    assert site.query("SELECT count(*) FROM generations") == [(1,)]


def test_a_step_down_that_loses_columns_of_the_record_names_them(site: Site) -> None:
    a_generation(site)

    refused = site.call("db", "downgrade", "0001")

    assert refused.returncode == 1
    assert (
        "drops account, author, charged, closing, closing_error, closing_refused_at, cost,"
        " estimated_cost, failing_since, failures, handed_on_url, image_path, image_sha256, images,"
        " refusals, refused_since" in refused.stderr
    )
    assert site.call("db", "current").stdout == "0013\n"


@pytest.mark.parametrize(
    "arguments",
    [("upgrade", "nope"), ("downgrade", "nope"), ("upgrade", "+1"), ("downgrade", "--", "-99")],
)
def test_a_revision_that_there_is_not_is_reported_with_those_that_there_are(
    site: Site, arguments: tuple[str, ...]
) -> None:
    refused = site.call("db", *arguments)

    assert (refused.returncode, refused.stderr) == (
        1,
        f"imagegen: not migrated: '{arguments[-1]}' is no revision to go to from 0013:"
        " there are base, 0001, 0002, 0003, 0004, 0005, 0006, 0007, 0008, 0009, 0010, 0011, 0012,"
        " 0013, and head, the last of them\n",
    )


@pytest.mark.parametrize("command", ["upgrade", "downgrade"])
def test_a_database_of_a_newer_imagegen_is_left_alone(site: Site, command: str) -> None:
    site.query("UPDATE imagegen_alembic_version SET version_num = '9999'")

    refused = site.call("db", command, "0001")

    assert refused.returncode == 1
    assert "is at revision 9999, which this imagegen does not know: install" in refused.stderr


def test_check_prints_what_to_run_on_a_database_that_is_not_migrated(empty_site: Site) -> None:
    check = empty_site.call("db", "check")

    assert check.returncode == 1
    assert check.stderr == "imagegen: the database is not migrated: run `imagegen db upgrade`\n"


def test_a_migration_does_not_wait_for_ever_behind_a_long_transaction(empty_site: Site) -> None:
    load_glisk(empty_site)
    with psycopg.connect(empty_site.database_url) as busy:
        busy.execute("LOCK TABLE tokens_s0")
        refused = empty_site.call("db", "upgrade")

    assert refused.returncode == 1
    message = "imagegen: not migrated: a long transaction holds a table: try again later\n"
    assert refused.stderr == message


def test_the_revision_that_the_worker_needs_is_alembics_head() -> None:
    config = Config()
    config.set_main_option("script_location", str(files("imagegen.db")))
    assert newest_revision() == ScriptDirectory.from_config(config).get_current_head()
