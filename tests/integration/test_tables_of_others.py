"""Tables, names and changes of others are respected, or refused by name with the fix."""

import uuid
from dataclasses import replace

import pytest

from imagegen.database.schema import TABLES as MADE
from tests.integration.test_migrations import a_generation, load_glisk
from tests.support.processes import Site, wait_for
from tests.support.sandbox import Sandbox

MOVED = """CREATE SCHEMA glisk; ALTER TABLE tokens_s0 SET SCHEMA glisk;
           ALTER TABLE authors SET SCHEMA glisk"""
TABLES = "SELECT schemaname, tablename FROM pg_tables WHERE schemaname !~ '^(pg_|info)'"


def in_schema(site: Site, path: str) -> Site:
    """The site with another search_path in the URL."""
    return replace(site, database_url=with_options(site.database_url, path))


def with_options(url: str, path: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{path}"


def refusal(site: Site) -> str:
    """What `db upgrade` says; it has changed nothing."""
    before = site.query(TABLES)
    refused = site.call("db", "upgrade")
    assert refused.returncode == 1
    assert site.query(TABLES) == before
    assert len(refused.stderr.splitlines()) == 1
    return refused.stderr


ELSEWHERE = {
    "both": (MOVED, "no table tokens_s0; there is glisk.tokens_s0"),
    "authors": (
        "CREATE SCHEMA glisk; ALTER TABLE authors SET SCHEMA glisk",
        "no table authors; there is glisk.authors",
    ),
    "capitals": (
        'ALTER TABLE tokens_s0 RENAME TO "Tokens_S0"',
        'there is public."Tokens_S0": ALTER TABLE public."Tokens_S0" RENAME TO tokens_s0;',
    ),
    "two": (
        MOVED + "; CREATE SCHEMA old; CREATE TABLE old.tokens_s0 ()",
        "there is glisk.tokens_s0 and old.tokens_s0: put the schema of the right one into",
    ),
    "a view of it elsewhere": (
        """CREATE SCHEMA glisk; CREATE VIEW glisk.tokens_s0 AS SELECT 1;
           ALTER TABLE tokens_s0 RENAME TO t""",
        "there is glisk.tokens_s0",
    ),
    "a view": (
        "ALTER TABLE tokens_s0 RENAME TO t; CREATE VIEW tokens_s0 AS SELECT * FROM t",
        "tokens_s0 is a view, not a table: give the table itself the name tokens_s0",
    ),
    "a foreign table": (
        """ALTER TABLE tokens_s0 RENAME TO t; CREATE FOREIGN DATA WRAPPER w;
           CREATE SERVER s FOREIGN DATA WRAPPER w;
           CREATE FOREIGN TABLE tokens_s0 (token_id integer) SERVER s""",
        "tokens_s0 is a foreign table, not a table",
    ),
    "other authors": (
        """CREATE SCHEMA app; ALTER TABLE authors SET SCHEMA app;
           CREATE TABLE authors (id uuid, prompt_text text)""",
        "tokens_s0.author_id refers to app.authors, not to authors: put its schema first",
    ),
    "users": (
        "ALTER TABLE authors RENAME TO users",
        "refers to users, not to authors: CREATE VIEW authors AS SELECT id, prompt_text FROM",
    ),
}


@pytest.mark.direct
@pytest.mark.parametrize("case", ELSEWHERE)
def test_no_second_table_is_made_beside_the_users(empty_site: Site, case: str) -> None:
    statements, message = ELSEWHERE[case]
    load_glisk(empty_site)
    empty_site.query(statements)

    assert message in refusal(empty_site)


@pytest.mark.direct
@pytest.mark.parametrize("which", ["role", "url"])
def test_the_printed_fix_finds_the_tables(empty_site: Site, sandbox: Sandbox, which: str) -> None:
    load_glisk(empty_site)
    empty_site.query(MOVED)
    password, role = "owner-7f2c", f"owner_{uuid.uuid4().hex}"
    empty_site.query(f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD '{password}'")
    site = replace(empty_site)
    site.log_in_as(role, password)
    fix = refusal(site).partition("glisk.tokens_s0: ")[2].strip()
    by_role, by_url = fix.split(" or in DATABASE_URL: ")
    if which == "role":
        site.query(by_role)
    else:
        assert by_url == "options=-csearch_path%3Dglisk"
        site.database_url = with_options(site.database_url, "glisk")

    assert site.call("db", "upgrade").returncode == 0
    with site.supervisor():
        wait_for("all images", lambda: site.statuses() == {"uploading": 50})

    made = {*MADE, "imagegen_spend_totals", "imagegen_alembic_version"}
    found = [(schema, name) for schema, name in site.query(TABLES) if name in made]
    assert sorted(found) == sorted(("glisk", name) for name in made)


@pytest.mark.direct
def test_a_schema_that_may_not_be_used_is_named_with_its_grant(empty_site: Site) -> None:
    load_glisk(empty_site)
    empty_site.query(MOVED)
    role = f"role_{uuid.uuid4().hex}"
    empty_site.query(
        f"CREATE ROLE {role} LOGIN PASSWORD 'x'; GRANT CREATE ON SCHEMA public TO {role}"
    )
    site = in_schema(empty_site, "glisk,public")
    site.log_in_as(role, "x")

    assert f"GRANT USAGE ON SCHEMA glisk TO {role};" in refusal(site)


@pytest.mark.direct
def test_an_empty_table_that_was_made_beside_the_users_is_reported(site: Site) -> None:
    site.query("CREATE SCHEMA glisk; CREATE TABLE glisk.tokens_s0 (token_id integer)")

    doctor = site.run("doctor")

    assert "imagegen works on public.tokens_s0, which is empty" in doctor.stdout
    assert "there is glisk.tokens_s0" in doctor.stdout
    assert doctor.returncode == 0


@pytest.mark.direct
def test_two_schemas_with_tables_of_their_own_do_not_disturb_each_other(empty_site: Site) -> None:
    load_glisk(empty_site)
    empty_site.query(MOVED)
    empty_site.query("CREATE SCHEMA b; CREATE TABLE b.authors (LIKE glisk.authors INCLUDING ALL);"
                     "CREATE TABLE b.tokens_s0 (LIKE glisk.tokens_s0 INCLUDING ALL)")  # fmt: skip

    for schema in ("glisk", "b"):
        assert in_schema(empty_site, f"{schema},public").call("db", "upgrade").returncode == 0
        assert in_schema(empty_site, f"{schema},public").call("db", "check").returncode == 0

    found = empty_site.query(f"{TABLES} AND tablename = 'generations' ORDER BY 1")
    assert found == [("b", "generations"), ("glisk", "generations")]


TAKEN = {
    "CREATE TABLE generations (id integer, name text)": "public.generations is not imagegen's",
    "CREATE VIEW generations AS SELECT 1 AS id": "public.generations is not imagegen's",
    "CREATE TYPE generations AS ENUM ('z')": "public.generations is not imagegen's",
    "CREATE SEQUENCE generations": "public.generations is not imagegen's",
    "CREATE TABLE generations_token (id integer)": "the name generations_token is taken by",
    "CREATE INDEX generations_leases ON authors (id)": "generations_leases is taken by authors",
    "CREATE INDEX imagegen_tokens_detected ON authors (id)": "imagegen_tokens_detected is taken",
    "CREATE TABLE generations_pkey (id integer)": "the name generations_pkey is taken by",
    """CREATE FUNCTION imagegen_notify_detected() RETURNS trigger LANGUAGE plpgsql
       AS 'BEGIN RETURN NEW; END'""": "the name imagegen_notify_detected is taken by another",
}


@pytest.mark.parametrize("taken", TAKEN)
def test_a_name_that_the_application_uses_is_refused(empty_site: Site, taken: str) -> None:
    load_glisk(empty_site)
    empty_site.query(taken)

    assert TAKEN[taken] in refusal(empty_site)


@pytest.mark.direct
def test_the_applications_generations_and_imagegens_live_in_two_schemas(
    empty_site: Site, sandbox: Sandbox
) -> None:
    load_glisk(empty_site)
    empty_site.query("CREATE TABLE generations (id integer, name text)")
    password, role = "owner-7f2c", f"owner_{uuid.uuid4().hex}"
    empty_site.query(f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD '{password}'")
    site = replace(empty_site)
    site.log_in_as(role, password)
    site.query(refusal(site).partition("search_path: ")[2])

    assert site.call("db", "upgrade").returncode == 0
    with site.supervisor():
        wait_for("all images", lambda: site.statuses() == {"uploading": 50})
    assert site.call("db", "downgrade", "base", "--yes").returncode == 0

    assert empty_site.query("SELECT count(*) FROM public.generations") == [(0,)]
    assert site.query("SELECT to_regclass('imagegen.generations')") == [(None,)]


def test_tokens_that_are_gone_are_not_replaced_by_an_empty_table(site: Site) -> None:
    a_generation(site)
    site.query("ALTER TABLE tokens_s0 RENAME TO t_old")

    assert "tokens_s0 is gone, and imagegen has worked with it: bring it back" in refusal(site)
    site.query("DROP TABLE t_old")
    assert site.call("db", "downgrade", "base", "--yes").returncode == 0
    assert site.call("db", "upgrade").returncode == 0


def test_without_the_trigger_polling_goes_on_and_the_doctor_says_so(
    site: Site, sandbox: Sandbox
) -> None:
    site.query("DROP TRIGGER imagegen_notify_detected ON tokens_s0")
    site.mint("a cat")

    doctor = site.run("doctor")
    with site.supervisor(procs=1) as program:
        assert site.wait_until_done() == {"uploading": 1}
        said = program.events("database.tables")

    assert doctor.returncode == 0
    assert "warning  tables       the trigger imagegen_notify_detected is missing" in doctor.stdout
    assert "ok       tables       their columns and the labels of status" in doctor.stdout
    assert len(said) == 1
