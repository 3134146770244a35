"""A column of another type works, or the table is refused by name before anything starts."""

import pytest

from imagegen import database
from imagegen.database import preflight
from tests.support.processes import Site

NO_REFERENCE = "ALTER TABLE tokens_s0 DROP CONSTRAINT tokens_s0_author_id_fkey;"
NO_TIME = "ALTER TABLE tokens_s0 ALTER created_at DROP DEFAULT, ALTER created_at"
ATTEMPTS = "ALTER TABLE tokens_s0 DROP COLUMN generation_attempts, ADD generation_attempts"
REFUSED = {
    "ALTER TABLE tokens_s0 ALTER token_id TYPE text": "tokens_s0.token_id is of type text",
    "ALTER TABLE tokens_s0 ALTER token_id TYPE varchar(9)": "token_id is of type character varying",
    "ALTER TABLE tokens_s0 DROP token_id, ADD token_id uuid UNIQUE": "token_id is of type uuid",
    "CREATE DOMAIN ids AS text; ALTER TABLE tokens_s0 ALTER token_id TYPE ids": "of type ids",
    f"{NO_TIME} TYPE bigint USING 1": "tokens_s0.created_at is of type bigint",
    f"{ATTEMPTS} text": "tokens_s0.generation_attempts is of type text",
    f"{ATTEMPTS} int GENERATED ALWAYS AS (1) STORED": "tokens_s0.generation_attempts is computed",
    "ALTER TABLE authors ALTER prompt_text TYPE jsonb USING '1'": "prompt_text is of type jsonb",
    "ALTER TABLE authors ALTER prompt_text TYPE bytea USING ''": "prompt_text is of type bytea",
    f"{NO_REFERENCE} ALTER TABLE tokens_s0 ALTER author_id TYPE text": "author_id is of type text",
    f"{NO_REFERENCE} ALTER TABLE authors DROP CONSTRAINT authors_pkey": "authors.id must be unique",
}
# Of each column the ones that go together: each table has a program of its own.
USED = [
    "ALTER TABLE tokens_s0 ALTER token_id TYPE numeric(78, 0),"
    " ALTER generate_after TYPE timestamp, ALTER created_at TYPE date;"
    f" {ATTEMPTS} smallint",
    "ALTER TABLE tokens_s0 ALTER token_id TYPE smallint;"
    f" {ATTEMPTS} numeric DEFAULT 0; ALTER TABLE authors ALTER prompt_text TYPE char(400)",
    "CREATE DOMAIN n AS numeric CHECK (VALUE >= 0); ALTER TABLE tokens_s0 ALTER token_id TYPE n",
]


@pytest.mark.parametrize(("statements", "message"), REFUSED.items())
def test_a_column_of_a_type_that_no_statement_can_use_is_refused_by_name(
    site: Site, statements: str, message: str
) -> None:
    site.query(statements)

    with database.connect(site.database_url) as connection:
        problems = preflight.problems(connection, {})
    (problem,) = [each for each in problems if each.prevents_start]

    assert message in problem.message


def test_the_upgrade_the_start_and_the_doctor_name_the_column_and_the_fix(site: Site) -> None:
    site.query("ALTER TABLE tokens_s0 ALTER token_id TYPE text")
    message = (
        "tokens_s0.token_id is of type text, and must be one of bigint, integer, smallint, numeric"
    )
    fix = "ALTER TABLE tokens_s0 ALTER COLUMN token_id TYPE bigint USING token_id::bigint;"

    refused = [site.run(*command) for command in (("db", "upgrade"), ("supervise",), ("worker",))]

    assert [each.returncode for each in refused] == [1, 1, 1]
    assert all(f"{message}: {fix}" in each.stderr for each in refused)
    assert f"wrong    tables       {message}" in site.run("doctor").stdout
    site.query(fix)
    assert site.run("db", "check").returncode == 0


@pytest.mark.parametrize("statements", USED)
def test_a_token_gets_its_image_in_a_table_of_other_types(site: Site, statements: str) -> None:
    site.query(statements)
    site.mint("a picture")

    with site.supervisor(procs=1) as program:
        ended = site.wait_until_done()
        listed = site.run("tokens", "list", "--json")

    assert ended == {"uploading": 1}
    assert '"token_id": 1,' in listed.stdout
    assert not program.events("process.died")
