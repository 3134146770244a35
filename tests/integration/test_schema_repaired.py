"""`imagegen db upgrade` makes dropped parts again, and no image is paid for twice meanwhile."""

import random
from contextlib import suppress

import psycopg
import pytest

from imagegen import database
from imagegen.database import schema
from imagegen.database.schema import OTHER_INDEXES, UNIQUE_INDEXES
from tests.integration.test_migrations import SCHEMA, a_generation, load_glisk
from tests.support.judge import judge
from tests.support.processes import Site, wait_for
from tests.support.sandbox import Sandbox

TABLES = (
    "'generations', 'imagegen_servers', 'imagegen_spend_totals', 'imagegen_duplicates',"
    " 'imagegen_audits', 'imagegen_acts'"
)
CONSTRAINTS = """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE conrelid::regclass::text IN ($TABLES)
ORDER BY 1, 2""".replace("$TABLES", TABLES)
# What each part is dropped by.
PARTS = """
SELECT format('DROP TABLE %I', relname) FROM pg_class WHERE relkind = 'r' AND relname IN
    ($TABLES, 'imagegen_alembic_version')
UNION ALL SELECT format('ALTER TABLE %s DROP COLUMN %I', attrelid::regclass, attname)
FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped AND (attrelid::regclass::text IN
    ($TABLES, 'imagegen_alembic_version')
    OR attrelid = 'tokens_s0'::regclass AND col_description(attrelid, attnum) IS NOT NULL)
UNION ALL SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname)
FROM pg_constraint WHERE conrelid::regclass::text IN ($TABLES)
    AND contype <> 'n'
UNION ALL SELECT format('DROP INDEX %s', indexrelid::regclass) FROM pg_index
WHERE indexrelid::regclass::text ~ '^(imagegen|generations)' AND NOT EXISTS (
    SELECT FROM pg_constraint WHERE conindid = indexrelid)
UNION ALL SELECT 'DROP TRIGGER imagegen_notify_detected ON tokens_s0'
UNION ALL SELECT 'DROP FUNCTION imagegen_notify_detected CASCADE'
UNION ALL SELECT 'DELETE FROM imagegen_alembic_version'
ORDER BY 1""".replace("$TABLES", TABLES)
DROP_ALL = """
DROP TABLE generations, imagegen_alembic_version, imagegen_servers, imagegen_spend_totals,
    imagegen_duplicates, imagegen_audits, imagegen_acts;
DROP FUNCTION imagegen_notify_detected CASCADE;
DROP INDEX imagegen_tokens_detected, imagegen_tokens_generating, imagegen_tokens_failed"""


def parts_of(site: Site) -> list[str]:
    with database.connect(site.database_url) as connection:
        return [drop for (drop,) in connection.execute(PARTS.encode())]


def shape(site: Site) -> list[object]:
    return [*site.query(SCHEMA), *site.query(CONSTRAINTS)]


@pytest.mark.parametrize("adopted", [False, True], ids=["fresh", "adopted"])
def test_each_part_that_was_dropped_is_made_again(empty_site: Site, adopted: bool) -> None:
    if adopted:
        load_glisk(empty_site)
    empty_site.upgrade()
    before, parts = shape(empty_site), parts_of(empty_site)
    if adopted:  # imagegen's own tables are the same ones
        parts = [drop for drop in parts if "tokens" in drop or "notify" in drop]

    for drop in parts:
        empty_site.query(drop)
        if drop.startswith(("DROP INDEX", "DROP TRIGGER", "DROP FUNCTION")):
            assert said(empty_site), drop
        empty_site.upgrade()

        assert shape(empty_site) == before, drop
        assert said(empty_site) == [], drop
    assert len(parts) > (5 if adopted else 50)


def test_any_parts_together_are_made_again(empty_site: Site) -> None:
    load_glisk(empty_site)
    empty_site.upgrade()
    before, chance = shape(empty_site), random.Random(1)

    for _ in range(15):
        for drop in chance.sample(parts_of(empty_site), 12):
            with suppress(psycopg.ProgrammingError):  # it went with another
                empty_site.query(drop)
        empty_site.upgrade()

        assert shape(empty_site) == before


def said(site: Site) -> list[str]:
    """What a start and the doctor say of the tables."""
    with database.connect(site.database_url) as connection:
        return [str(problem) for problem in schema.defects(connection, {})]


def test_the_repair_looks_for_the_parts_that_the_migrations_make(site: Site) -> None:
    indexes = site.query(
        """SELECT indexname, tablename, indexdef ~ 'UNIQUE' FROM pg_indexes
           WHERE schemaname = 'public' AND indexname ~ '^(imagegen_(?!alembic)|generations)'"""
    )

    assert {name: table for name, table, _ in indexes} == UNIQUE_INDEXES | OTHER_INDEXES
    # Workers need no totals of what was pruned.
    unique = {name for name, _, unique in indexes if unique} - {"imagegen_spend_totals_pkey"}
    assert unique == set(UNIQUE_INDEXES)


def test_rows_without_a_column_that_they_need_are_not_made_up(site: Site) -> None:
    a_generation(site)
    site.query("ALTER TABLE generations DROP COLUMN seed")

    refused = site.call("db", "upgrade")

    assert refused.returncode == 1
    assert "generations has lost seed, which its rows cannot be without: restore" in refused.stderr
    site.query(refused.stderr.partition("begin anew: ")[2])
    assert site.call("db", "upgrade").returncode == 0


def test_everything_is_dropped_under_work_and_nothing_is_paid_twice(
    site: Site, sandbox: Sandbox
) -> None:
    site.settings["IMAGEGEN_TEST_SETTLE_SECONDS"] = "2"
    sandbox.latency_seconds = 2.0
    site.mint(*(f"picture {n}" for n in range(8)))
    with site.supervisor() as program:
        wait_for("work", lambda: len(sandbox.ledger.creates()) >= 8)
        site.query(DROP_ALL)
        program.wait_for_event("database.unavailable", count=2)
        doctor = site.run("doctor")
        assert site.call("db", "upgrade").returncode == 0
        program.wait_for_event("generation.lease.lost", count=8)
        site.query("UPDATE tokens_s0 SET status = 'detected' WHERE status = 'generating'")
        site.mint("later", first_token_id=100)

        assert site.wait_until_done() == {"uploading": 9}
        assert program.events("process.died") == []
        assert program.process.poll() is None

    assert "the database is not migrated" in doctor.stdout
    assert len(sandbox.ledger.creates()) == 9
    judge(site, sandbox)


@pytest.mark.parametrize(
    "drop",
    [
        "DROP TABLE generations",
        "DROP TABLE generations, imagegen_servers",
        "DROP TABLE generations, imagegen_alembic_version",
        "DROP TABLE imagegen_servers, imagegen_alembic_version",
        DROP_ALL + "; ALTER TABLE tokens_s0 DROP generate_after, DROP generation_attempts,"
        " DROP generation_error; COMMENT ON TABLE tokens_s0 IS NULL;"
        " COMMENT ON TABLE authors IS NULL",
    ],
)
def test_requests_from_before_are_found_in_replicates_list(
    site: Site, sandbox: Sandbox, drop: str
) -> None:
    site.settings["IMAGEGEN_TEST_SETTLE_SECONDS"] = "2"
    sandbox.latency_seconds = 2.0
    site.mint(*["the same picture"] * 4)
    with site.supervisor() as program:
        wait_for("work", lambda: len(sandbox.ledger.creates()) >= 4)
        program.kill(program.pid)
        wait_for("all to end", lambda: not site.processes())
    site.query(drop)
    site.upgrade()
    site.query("UPDATE tokens_s0 SET status = 'detected'")
    with site.supervisor():
        assert site.wait_until_done() == {"uploading": 4}

    assert len(sandbox.ledger.creates()) == 4
    urls = site.query("SELECT count(DISTINCT image_url) FROM tokens_s0")
    assert urls == [(4,)]
