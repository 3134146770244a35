"""A database that is not in UTF-8 works as far as it can, with a warning."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from tests.support.pooler import PgBouncer
from tests.support.postgres import PostgresServer
from tests.support.processes import Site
from tests.support.sandbox import Fault, Sandbox

FIX = "make another one (createdb --encoding=UTF8 --template=template0), and move there"
SiteIn = Callable[[str], Site]


@pytest.fixture
def site_in(
    postgres_server: PostgresServer, pooler: PgBouncer | None, sandbox: Sandbox, tmp_path: Path
) -> Iterator[SiteIn]:
    """A fresh, empty database in this encoding."""
    with ExitStack() as stack:

        def make(encoding: str) -> Site:
            name = f"test_{uuid.uuid4().hex}"
            with psycopg.connect(postgres_server.url, autocommit=True) as connection:
                connection.execute(
                    f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"
                )
            stack.callback(postgres_server.drop_database, name)
            url = postgres_server.url.rpartition("/")[0] + f"/{name}"
            return Site(pooler.url(name) if pooler else url, sandbox.url, tmp_path)

        yield make


def test_an_error_that_the_database_cannot_spell_ends_its_token_all_the_same(
    site_in: SiteIn, sandbox: Sandbox
) -> None:
    site = site_in("LATIN1")
    site.upgrade()
    sandbox.faults.add(Fault.fails("stuck", error="Prompt “stuck” is très bad …"))
    site.mint("stuck", "un café à Besançon")

    with site.supervisor(procs=1):
        ended = site.wait_until_done()

    assert ended == {"failed": 1, "uploading": 1}
    message = site.query("SELECT generation_error FROM tokens_s0 WHERE token_id = 1")
    assert message == [("Prompt ?stuck? is très bad ?",)]
    assert "un café à Besançon" in [create.prompt for create in sandbox.ledger.creates()]


def test_a_database_that_knows_no_encoding_serves_for_texts_in_utf_8(
    site_in: SiteIn, sandbox: Sandbox
) -> None:
    site = site_in("SQL_ASCII")
    site.upgrade()
    test = replace(site, database_url=f"{site.database_url}?client_encoding=UTF8")
    test.mint("“café” …")

    with site.supervisor(procs=1):
        ended = test.wait_until_done()

    assert ended == {"uploading": 1}
    assert [create.prompt for create in sandbox.ledger.creates()] == ["“café” …"]


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        ("SQL_ASCII", "the database is in SQL_ASCII: one prompt that is not UTF-8 stops all work"),
        ("LATIN1", "the database is in LATIN1: error messages lose the characters that it lacks"),
    ],
)
def test_the_upgrade_and_the_doctor_tell_of_an_encoding_that_is_not_utf_8(
    site_in: SiteIn, encoding: str, message: str
) -> None:
    site = site_in(encoding)
    upgrade = site.run("db", "upgrade")
    doctor = site.run("doctor")

    assert (upgrade.returncode, upgrade.stderr) == (0, f"imagegen: {message}: {FIX}\n")
    assert (doctor.returncode, doctor.stderr) == (0, "")
    assert message in doctor.stdout


@pytest.mark.parametrize("variable", ["FALLBACK_CENSORED_PROMPT", "DEFAULT_PROMPT"])
def test_a_prompt_of_the_settings_that_the_database_cannot_spell_is_reported_at_the_start(
    site_in: SiteIn, variable: str
) -> None:
    site = site_in("LATIN1")
    site.upgrade()
    site.settings[variable] = "clouds … and sea"

    start = site.run("supervise")
    doctor = site.run("doctor")

    assert start.returncode == doctor.returncode == 1
    said = f"the database lacks characters of {variable}, 'clouds … and sea'"
    assert start.stderr.endswith(f"imagegen: {said}: write it without them\n")
    assert said in doctor.stdout
