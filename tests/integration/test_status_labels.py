"""A status is an enum or text in whatever case: it works, or is refused by name."""

import psycopg
import pytest

from imagegen.database import NotMigratedError, connect, preflight, read_tables
from tests.support.processes import Site

CAPITALS = "('DETECTED', 'GENERATING', 'UPLOADING', 'READY', 'REVEALED', 'FAILED')"
MADE = {  # what follows the column's name, and how `generating` is written
    "text": "generating",
    "character(10)": "generating",
    "varchar(10)": "generating",
    f"varchar(10) CHECK (status IN {CAPITALS})": "GENERATING",
    "text CHECK (status ~ '^[A-Z]+$')": "GENERATING",
    "text DEFAULT 'Detected'": "Generating",
    "capitals": "GENERATING",
    "mixed": "GENERATING",
    "both_cases": "generating",
}
TYPES = """
CREATE DOMAIN capitals AS varchar(10) CHECK (VALUE = upper(VALUE));
CREATE TYPE mixed AS ENUM ('detected', 'GENERATING', 'uploading', 'FAILED');
CREATE TYPE both_cases AS ENUM ('DETECTED', 'GENERATING', 'UPLOADING', 'FAILED',
    'detected', 'generating', 'uploading', 'failed');
"""
REFUSED = {
    "varchar(8)": "of type character varying(8), cannot be generating, uploading",
    "text CHECK (status IN ('detected', 'done', 'failed'))": "cannot be generating, uploading",
    '"char"': 'is of type "char"',
    "integer": "is of type integer",
    "jsonb": "is of type jsonb",
}


def make_table(site: Site, status: str) -> None:
    site.query(TYPES)
    site.query(
        f"""CREATE TABLE tokens_s0 (token_id bigint PRIMARY KEY, author_id uuid,
                status {status}, created_at timestamptz DEFAULT now())"""
    )


def label(site: Site) -> str:
    with connect(site.database_url) as connection:
        return read_tables(connection).labels["generating"].partition("::")[0].strip("'")


@pytest.mark.parametrize(("status", "written"), MADE.items())
def test_the_statuses_are_written_as_the_column_lets_them_be(
    empty_site: Site, status: str, written: str
) -> None:
    make_table(empty_site, status)

    assert label(empty_site) == written


@pytest.mark.parametrize(("status", "message"), REFUSED.items())
def test_a_column_that_cannot_hold_all_statuses_is_refused_by_name(
    empty_site: Site, status: str, message: str
) -> None:
    make_table(empty_site, status)

    upgraded = empty_site.call("db", "upgrade")

    assert upgraded.returncode == 1
    assert upgraded.stderr.startswith("imagegen: ")
    assert "tokens_s0.status" in upgraded.stderr
    assert message in upgraded.stderr
    assert len(upgraded.stderr.splitlines()) == 1


@pytest.mark.parametrize("status", ["text", "varchar(10)", "both_cases"])
def test_rows_say_how_the_application_writes_a_status(empty_site: Site, status: str) -> None:
    make_table(empty_site, status)
    empty_site.query("INSERT INTO tokens_s0 (token_id, status) VALUES (1, 'DETECTED')")

    assert label(empty_site) == "GENERATING"


def test_a_table_with_both_cases_keeps_the_one_that_the_index_was_made_for(
    empty_site: Site,
) -> None:
    make_table(empty_site, "text")
    empty_site.query("INSERT INTO tokens_s0 (token_id, status) VALUES (1, 'FAILED')")
    empty_site.upgrade()
    empty_site.query(
        """INSERT INTO tokens_s0 (token_id, status)
           SELECT n, 'failed' FROM generate_series(2, 9) n"""
    )

    assert label(empty_site) == "GENERATING"


def test_capitals_work_from_the_first_token_on_where_no_row_had_shown_them(
    empty_site: Site,
) -> None:
    site = empty_site
    make_table(site, "varchar(10)")
    site.upgrade()

    with site.supervisor(procs=1) as program:
        site.query(
            """WITH author AS (INSERT INTO authors (wallet_address, prompt_text)
                   VALUES ('0x1', 'a picture') RETURNING id)
               INSERT INTO tokens_s0 (token_id, author_id, status)
               SELECT 1, id, 'DETECTED' FROM author"""
        )
        program.wait_for_event("tables.learned")
        ended = site.wait_until_done()
        metrics = program.metrics()

    assert ended == {"uploading": 1}
    assert site.query("SELECT status FROM tokens_s0") == [("UPLOADING",)]
    assert metrics['imagegen_tokens_set_aside{kind="other_case"}'] == 0


def test_indexes_for_another_case_are_named_with_what_makes_them_anew(empty_site: Site) -> None:
    make_table(empty_site, "varchar(10)")
    empty_site.upgrade()
    empty_site.query("INSERT INTO tokens_s0 (token_id, status) VALUES (1, 'DETECTED')")

    with connect(empty_site.database_url) as connection:
        (problem,) = preflight.problems(connection, {})
        assert "each claim reads all of tokens_s0" in problem.message
        assert not problem.prevents_start
        connection.execute(problem.fix.encode())
        assert preflight.problems(connection, {}) == []


def test_a_table_without_a_status_is_none_of_ours(empty_site: Site) -> None:
    empty_site.query("CREATE TABLE tokens_s0 (token_id bigint)")

    with connect(empty_site.database_url) as connection, pytest.raises(NotMigratedError):
        read_tables(connection)


def test_the_tables_are_read_within_a_transaction_too(empty_site: Site) -> None:
    make_table(empty_site, "capitals")

    with psycopg.connect(empty_site.database_url) as connection, connection.transaction():
        assert read_tables(connection).labels["failed"] == "'FAILED'::capitals"
