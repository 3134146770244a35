"""Tables in which imagegen would lose images or money are refused before anything is paid."""

import uuid
from dataclasses import replace

import httpx
import pytest

from imagegen import database
from imagegen.database import preflight
from tests.integration.test_migrations import SCHEMA, load_glisk
from tests.support.processes import Site

PASSWORD = "role-7f2c-password"
NOT_UNIQUE = "tokens_s0.token_id must be unique by itself: no unique index is on it alone"
NEEDED = {
    "tokens_s0": {
        "SELECT": "token_id author_id status created_at image_url generation_attempts"
        " generation_error generate_after xmin",
        "UPDATE": "status image_url generation_attempts generation_error generate_after",
    },
    "authors": {"SELECT": "id prompt_text"},
}


def in_two_contracts(site: Site) -> None:
    site.query(
        """ALTER TABLE tokens_s0 ADD COLUMN contract text NOT NULL DEFAULT '0x1';
           CREATE UNIQUE INDEX ON tokens_s0 (contract, token_id)"""
    )


def drop_unique(site: Site) -> None:
    site.query("ALTER TABLE tokens_s0 DROP CONSTRAINT tokens_s0_token_id_key")


def test_an_upgrade_adopts_no_table_in_which_two_rows_may_have_one_token_id(
    empty_site: Site,
) -> None:
    load_glisk(empty_site)
    in_two_contracts(empty_site)
    empty_site.query("DROP INDEX ix_tokens_s0_token_id")
    before = empty_site.query(SCHEMA)

    refused = empty_site.call("db", "upgrade")

    assert (refused.returncode, refused.stderr) == (
        1,
        f"imagegen: not migrated: {NOT_UNIQUE}: CREATE UNIQUE INDEX ON tokens_s0 (token_id);\n",
    )
    assert empty_site.query(SCHEMA) == before
    empty_site.query("CREATE UNIQUE INDEX ON tokens_s0 (token_id)")
    assert empty_site.call("db", "upgrade").returncode == 0


@pytest.mark.parametrize(
    "command", [("supervise",), ("worker",), ("db", "check"), ("db", "upgrade")]
)
def test_nothing_starts_on_such_a_table(site: Site, command: tuple[str, ...]) -> None:
    in_two_contracts(site)
    drop_unique(site)

    refused = site.run(*command)

    assert refused.returncode == 1
    assert f"{NOT_UNIQUE}: CREATE UNIQUE INDEX ON tokens_s0 (token_id);" in refused.stderr
    doctor = site.run("doctor").stdout
    assert f"wrong    tables       {NOT_UNIQUE}" in doctor


ENFORCE = {
    "CREATE UNIQUE INDEX ON tokens_s0 (token_id)": True,
    "CREATE UNIQUE INDEX ON tokens_s0 (token_id) INCLUDE (status)": True,
    "ALTER TABLE tokens_s0 ADD UNIQUE (token_id) DEFERRABLE INITIALLY DEFERRED": True,
    "ALTER TABLE tokens_s0 DROP CONSTRAINT tokens_s0_pkey, ADD PRIMARY KEY (token_id)": True,
    "SELECT": False,
    "CREATE INDEX ON tokens_s0 (token_id)": False,
    "CREATE UNIQUE INDEX ON tokens_s0 (token_id, author_id)": False,
    "CREATE UNIQUE INDEX ON tokens_s0 (abs(token_id))": False,
    "CREATE UNIQUE INDEX ON tokens_s0 (token_id) WHERE status = 'detected'": False,
    """CREATE UNIQUE INDEX half_made ON tokens_s0 (token_id);
       UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'half_made'::regclass""": False,
    "CREATE UNIQUE INDEX ON tokens_s0 (token_id); CREATE TABLE more () INHERITS (tokens_s0)": False,
}


@pytest.mark.parametrize(("statements", "enforces"), ENFORCE.items())
def test_only_an_index_that_keeps_token_ids_apart_counts(
    site: Site, statements: str, enforces: bool
) -> None:
    drop_unique(site)
    site.query(statements)

    assert is_usable(site) == enforces


@pytest.mark.parametrize(("key", "usable"), [("token_id", True), ("created_at", False)])
def test_a_partitioned_table_can_be_used_where_token_id_is_its_key(
    empty_site: Site, key: str, usable: bool
) -> None:
    unique = "token_id" if usable else "token_id, created_at"
    empty_site.query(
        f"""CREATE TABLE tokens_s0 (token_id integer, author_id uuid, status text,
                created_at timestamptz DEFAULT now(), UNIQUE ({unique})) PARTITION BY HASH ({key});
            CREATE TABLE part PARTITION OF tokens_s0 FOR VALUES WITH (MODULUS 1, REMAINDER 0)"""
    )

    upgraded = empty_site.call("db", "upgrade")

    assert (upgraded.returncode == 0) == usable
    assert ("partition it by token_id" in upgraded.stderr) != usable


def is_usable(site: Site) -> bool:
    with database.connect(site.database_url) as connection:
        return not list(preflight.table_problems(connection))


def as_new_role(site: Site) -> tuple[Site, str]:
    """The site of a role that may do with imagegen's own tables what it must, and nothing else."""
    role = f"role_{uuid.uuid4().hex}"
    site.query(
        f"""CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}';
            GRANT SELECT (version_num) ON imagegen_alembic_version TO {role};
            GRANT SELECT, INSERT, UPDATE ON generations, imagegen_servers, imagegen_duplicates,
                imagegen_audits TO {role};
            GRANT SELECT ON imagegen_acts TO {role}"""
    )
    limited = replace(site)
    limited.log_in_as(role, PASSWORD)
    return limited, role


def grant(site: Site, role: str, *, but: tuple[str, str, str] | None = None) -> None:
    """Grant each needed column alone, but for this one."""
    for table, privileges in NEEDED.items():
        for privilege, columns in privileges.items():
            for column in columns.split():
                if (table, privilege, column) != but:
                    site.query(f"GRANT {privilege} ({column}) ON {table} TO {role}")


def problems(site: Site) -> list[str]:
    with database.connect(site.database_url) as connection:
        return [str(problem) for problem in preflight.problems(connection, {})]


@pytest.mark.direct
def test_privileges_on_the_needed_columns_are_enough(site: Site) -> None:
    site.mint("a picture", None)
    limited, role = as_new_role(site)
    grant(site, role)

    doctor = limited.run("doctor").stdout
    with limited.supervisor(procs=1) as program:
        site.wait_until_done()
        page = httpx.get(program.metrics_url().replace("/metrics", "/"), trust_env=False)
        metrics = program.metrics()
        program.stop()

    assert ", 0 wrong" in doctor
    assert site.statuses() == {"uploading": 1, "failed": 1}
    assert metrics['imagegen_tokens{status="uploading"}'] == 1
    assert "a picture" in page.text


COLUMNS = [
    (table, privilege, column)
    for table, privileges in NEEDED.items()
    for privilege, columns in privileges.items()
    for column in columns.split()
]


@pytest.mark.direct
def test_every_column_that_may_not_be_used_is_named(site: Site) -> None:
    for missing in COLUMNS:
        limited, role = as_new_role(site)
        grant(site, role, but=missing)

        table, privilege, column = missing
        assert problems(limited) == [
            f"{role} may not {privilege} ({column}) on {table}:"
            f" GRANT {privilege} ({column}) ON {table} TO {role};"
        ]


@pytest.mark.direct
def test_a_role_that_may_claim_and_not_hand_on_is_refused_at_the_start(site: Site) -> None:
    limited, role = as_new_role(site)
    site.query(f"GRANT SELECT ON tokens_s0, authors TO {role}")
    site.query(f"GRANT UPDATE (status) ON tokens_s0 TO {role}")
    site.mint("a picture")

    started = limited.run("supervise")

    columns = "image_url, generation_attempts, generation_error, generate_after"
    assert (started.returncode, started.stderr.splitlines()[-1]) == (
        1,
        f"imagegen: {role} may not UPDATE ({columns}) on tokens_s0:"
        f" GRANT UPDATE ({columns}) ON tokens_s0 TO {role};",
    )


POLICIES = {
    "": False,
    "CREATE POLICY p ON {table} TO {role} USING (true)": True,
    "CREATE POLICY p ON {table} USING (true) WITH CHECK (true)": True,
    "CREATE POLICY p ON {table} USING (true) WITH CHECK (false)": False,
    "CREATE POLICY p ON {table} TO postgres_is_another USING (true)": False,
    "CREATE POLICY p ON {table} FOR SELECT USING (true)": False,
    """CREATE POLICY p ON {table} USING (true);
       CREATE POLICY q ON {table} AS RESTRICTIVE USING (true)""": False,
    "ALTER ROLE {role} BYPASSRLS": True,
    "ALTER TABLE {table} DISABLE ROW LEVEL SECURITY": True,
}


@pytest.mark.direct
@pytest.mark.parametrize(("statements", "permits"), POLICIES.items())
def test_row_level_security_that_may_hide_a_row_is_refused(
    site: Site, statements: str, permits: bool
) -> None:
    limited, role = as_new_role(site)
    grant(site, role)
    for table in ("tokens_s0", "authors", "generations"):
        site.query(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        if statements:
            other = f"other_{uuid.uuid4().hex}"
            site.query(f"CREATE ROLE {other}")
            filled = statements.replace("postgres_is_another", other)
            site.query(filled.format(table=table, role=role))

        assert (problems(limited) == []) == permits, table


@pytest.mark.direct
@pytest.mark.parametrize("which", ["BYPASSRLS", "POLICY"])
def test_the_start_and_the_doctor_print_what_makes_it_pass(site: Site, which: str) -> None:
    limited, role = as_new_role(site)
    grant(site, role)
    site.query(
        f"""ALTER TABLE authors ENABLE ROW LEVEL SECURITY;
            ALTER TABLE tokens_s0 ENABLE ROW LEVEL SECURITY;
            CREATE POLICY p ON tokens_s0 TO {role} USING (true)
                WITH CHECK (status <> 'uploading')"""
    )

    started, doctor = limited.run("worker"), limited.run("doctor")

    message = f"row-level security of tokens_s0, authors restricts {role}"
    assert started.returncode == doctor.returncode == 1
    assert started.stderr.startswith(f"imagegen: {message}: ALTER ROLE {role} BYPASSRLS; or CREATE")
    assert f"wrong    permissions  {message}" in doctor.stdout
    bypass, policies = started.stderr.partition(f"{message}: ")[2].split(" or ")
    site.query(bypass if which == "BYPASSRLS" else f"DROP POLICY p ON tokens_s0; {policies}")
    assert problems(limited) == []
